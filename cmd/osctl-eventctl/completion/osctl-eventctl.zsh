#compdef osctl-eventctl
# zsh completion for osctl-eventctl.
#
# Nothing is evaluated here, because words on the command line may come from containers.
# The program gets them unquoted and unexpanded, and offers only words that no shell
# interprets.

_osctl-eventctl() {
	emulate -L zsh -o extended_glob
	local -a typed offered described
	typed=("${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}")
	offered=("${(@f)$(command osctl-eventctl __complete "$typed[@]" 2>/dev/null)}")
	[[ $offered[-1] == :[0-9]## ]] || return
	local directive=${offered[-1]#:} word tab=$'\t'
	offered[-1]=()

	[[ $typed[-1] == -*=* ]] && compset -P '*='
	for word in "$offered[@]"; do
		described+=("${${word//:/\\:}/$tab/:}")
	done
	local -a nospace
	((directive & 2)) && nospace=(-S '')
	_describe osctl-eventctl described "$nospace[@]" && return
	((directive & 4)) || _files
}

# Autoloaded by its name, or read by a person's .zshrc.
if [[ $funcstack[1] == _osctl-eventctl ]]; then
	_osctl-eventctl "$@"
else
	compdef _osctl-eventctl osctl-eventctl
fi
