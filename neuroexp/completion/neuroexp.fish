# Completes neuroexp in fish. In ~/.config/fish/config.fish: neuroexp completion fish | source
function __neuroexp
    set -l words (commandline -opc)
    set -l program (string replace -r '^~/' "$HOME/" -- $words[1])
    $program completion fish (commandline -cp | string collect) 2>/dev/null </dev/null
end
complete --command neuroexp --no-files --keep-order --arguments '(__neuroexp)'
