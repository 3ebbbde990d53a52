# Completes neuroexp in bash. In ~/.bashrc: eval "$(neuroexp completion bash)"
_neuroexp() {
    local program=${COMP_WORDS[0]} answer
    COMPREPLY=()
    while IFS= read -r answer; do
        COMPREPLY+=("$answer")
    done < <("${program/#\~\//$HOME/}" completion bash "${COMP_LINE:0:COMP_POINT}" "${COMP_WORDS[COMP_CWORD]}" 2>/dev/null </dev/null)
}
complete -o nospace -F _neuroexp neuroexp
