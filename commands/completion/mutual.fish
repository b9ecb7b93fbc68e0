# fish completion for mutual; save it as
# ~/.config/fish/completions/mutual.fish, or load it with:
# mutual completion fish | source

function __mutual_complete
    set -l before (commandline --cut-at-cursor --current-process --tokenize)
    set -l current (commandline --cut-at-cursor --current-token | string unescape)
    set -l found ($before[1] __complete -- $before[2..] "=$current" 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path "$current"
    end
end

complete --command mutual --no-files --arguments '(__mutual_complete)'
