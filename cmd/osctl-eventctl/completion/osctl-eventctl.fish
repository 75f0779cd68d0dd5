# fish completion for osctl-eventctl.
#
# Nothing is evaluated here, because words on the command line may come from containers.
# The program gets them unquoted and unexpanded, and offers only words that no shell
# interprets.

# Fetches the offers. Returns false if a file name is expected.
function __osctl_eventctl_ask
    set -l typed (commandline -opc)
    set -e typed[1]
    set -l word (commandline -ct | string unescape)
    test (count $word) -eq 1; or set word ''

    set -l offered (command osctl-eventctl __complete $typed $word 2>/dev/null)
    set -g __osctl_eventctl_offered
    string match -qr '^:[0-9]+$' -- "$offered[-1]"; or return 0
    set -l directive (string sub -s 2 -- $offered[-1])
    set -e offered[-1]

    # A value after --flag= is offered without the flag.
    set -l flag (string match -r -- '^-[^=]*=' $word)
    for line in $offered
        set -a __osctl_eventctl_offered "$flag$line"
    end
    test (math "floor($directive / 4) % 2") -eq 1; or test (count $offered) -gt 0
end

complete -c osctl-eventctl -e
complete -c osctl-eventctl -n __osctl_eventctl_ask -f -a '$__osctl_eventctl_offered'
