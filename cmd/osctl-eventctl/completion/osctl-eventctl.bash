# bash completion for osctl-eventctl; needs bash-completion.
#
# Nothing is evaluated here, because words on the command line may come from containers.
# The program gets them unquoted and unexpanded, and offers only words that no shell
# interprets.

_osctl_eventctl() {
	local cur words cword
	_get_comp_words_by_ref -n := cur words cword || return
	local typed=("${words[@]:1:cword-1}" "$cur")
	typed=("${typed[@]//[\"\'\\]/}")

	local offered
	mapfile -t offered < <(command osctl-eventctl __completeNoDesc "${typed[@]}" 2>/dev/null)
	[[ ${#offered[@]} -gt 0 && ${offered[-1]} =~ ^:[0-9]+$ ]] || return
	local directive=${offered[-1]#:}
	unset 'offered[-1]'

	# A value after --flag= is offered without the flag, but readline replaces the whole
	# word, or what stands after the last character that breaks words.
	local flag='' before='' breaks=${COMP_WORDBREAKS//[^:=]/}
	[[ ${typed[-1]} == -*=* ]] && flag=${typed[-1]%%=*}=
	[[ $breaks && $cur != [\"\']* ]] && before=${cur%"${cur##*["$breaks"]}"}
	local word
	for word in "${offered[@]}"; do
		word=$flag$word
		COMPREPLY+=("${word#"$before"}")
	done

	((directive & 2)) && compopt -o nospace
	((directive & 4)) || compopt -o default # files
	return 0
}

complete -F _osctl_eventctl osctl-eventctl
