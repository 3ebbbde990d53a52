# Completes neuroexp in zsh. In ~/.zshrc: eval "$(neuroexp completion zsh)"
_neuroexp() {
    local program=${(Q)words[1]} word what
    local -a answers shown
    while IFS=$'\t' read -r word what; do
        answers+=("$word")
        shown+=("${word% }${what:+  -- $what}")
    done < <("${program/#\~\//$HOME/}" completion zsh "${(j: :)words[1,CURRENT-1]} $QIPREFIX$PREFIX" 2>/dev/null </dev/null)
    (( $#answers )) && compadd -U -Q -S '' -V neuroexp -l -d shown -- "${answers[@]}"
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }
compdef _neuroexp neuroexp
