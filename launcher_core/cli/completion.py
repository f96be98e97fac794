"""Writes shell scripts that complete the launcher's options; they hold the table and never call the launcher.

Behind the script's name the shell completes files, as it would without these scripts.
"""

from __future__ import annotations

from launcher_core.cli import say
from launcher_core.cli.options import OPTIONS, Option

BASH = """\
# Completion of @PROGRAM@ for bash: eval "$(@PROGRAM@ --print-completion bash)"
_@PROGRAM@_options() {
    local word= before= index=1
    while (( index < COMP_CWORD )); do
        word=${COMP_WORDS[index]}
        if [[ $word == '=' || $before == '=' ]]; then before=$word; (( index++ )); continue; fi
        before=$word
        case $word in
            @VALUED@)
                if [[ ${COMP_WORDS[index+1]} != '=' ]]; then
                    (( index + 1 == COMP_CWORD )) && break
                    (( index++ ))
                fi ;;
            -?*) ;;
            *) return 1 ;;
        esac
        (( index++ ))
    done
    return 0
}
_@PROGRAM@() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    COMPREPLY=()
    _@PROGRAM@_options || return 0
    local joined=
    if [[ $current == '=' ]]; then current= joined=1
    elif [[ $before == '=' ]]; then before=${COMP_WORDS[COMP_CWORD-2]} joined=1; fi
    case $before in
@CHOICES@
        @VALUED@) return 0 ;;
    esac
    if [[ $current == -* && ! $joined ]]; then
        COMPREPLY=( $(compgen -W '@OPTIONS@' -- "$current") )
    fi
}
complete -o default -F _@PROGRAM@ @PROGRAM@"""

ZSH = """\
#compdef @PROGRAM@
# Completion of @PROGRAM@ for zsh: eval "$(@PROGRAM@ --print-completion zsh)"
_@PROGRAM@() {
    _arguments -S -A '-*' \\
@OPTIONS@
        '1:script:_files' \\
        '*:argument:_files'
}
if [ "$funcstack[1]" = _@PROGRAM@ ]; then _@PROGRAM@ "$@"; else compdef _@PROGRAM@ @PROGRAM@; fi"""


TCSH = "complete @PROGRAM@ @JOINED@ @CHOICES@ 'C/-*/(@OPTIONS@)/' 'p/*/f/'"
"""One line, because tcsh evaluates what a command prints line by line: eval "`@PROGRAM@ --print-completion tcsh`"."""


def script(shell: str) -> str:
    """The completion script for `bash`, `zsh` or `tcsh`."""
    return {"bash": _bash, "zsh": _zsh, "tcsh": _tcsh}[shell]()


def _tcsh() -> str:
    """tcsh cannot tell where the script is: a word behind it that begins with a dash gets our options, too."""
    chosen = [(name, option) for option in OPTIONS if option.choices for name in option.spellings]
    return _filled(
        TCSH,
        JOINED=" ".join(f"'c/{name}=/({' '.join(option.choices)})/'" for name, option in chosen),
        CHOICES=" ".join(f"'n/{name}/({' '.join(option.choices)})/'" for name, option in chosen if option.bare is None),
        OPTIONS=" ".join(option.flag for option in OPTIONS),
    )


def _bash() -> str:
    valued = [option for option in OPTIONS if option.kind != "switch" and option.bare is None]
    chosen = [option for option in OPTIONS if option.choices]
    return _filled(
        BASH,
        VALUED="|".join(spelling for option in valued for spelling in option.spellings),
        OPTIONS=" ".join(option.flag for option in OPTIONS),
        CHOICES="\n".join(_bash_choice(option) for option in chosen),
    )


def _bash_choice(option: Option) -> str:
    words = " ".join(option.choices)
    reply = f"COMPREPLY=( $(compgen -W '{words}' -- \"$current\") )"
    joined = "" if option.bare is None else "[[ $joined ]] && "
    done = "return 0 ;;" if option.bare is None else "[[ $joined ]] && return 0 ;;"
    return f"        {'|'.join(option.spellings)}) {joined}{reply}; {done}"


def _zsh() -> str:
    return _filled(ZSH, OPTIONS="\n".join(f"        {_zsh_option(option)} \\" for option in OPTIONS))


def _zsh_option(option: Option) -> str:
    """One specification for _arguments: spellings exclude each other, long ones take their value by `=`."""
    group = " ".join(option.spellings)
    choices = f"({' '.join(option.choices)})"
    if option.kind == "switch":
        names, value = ",".join(option.spellings), ""
    elif option.bare is not None:
        names, value = ",".join(f"{name}=-" for name in option.spellings), f"::value:{choices}"
    else:
        names = ",".join(f"{name}=" if name.startswith("--") else f"{name}+" for name in option.spellings)
        value = f":value:{choices}" if option.choices else ":value:_files"
    braces = f"{{{names}}}" if len(option.spellings) > 1 else names
    return f"'({group})'{braces}'[{_zsh_text(option.help)}]{value}'"


def _zsh_text(text: str) -> str:
    """The text as it may stand between brackets and single quotes."""
    return text.replace("\\", "\\\\").replace("]", "\\]").replace("[", "\\[").replace("'", "'\\''")


def _filled(template: str, **words: str) -> str:
    for name, text in {**words, "PROGRAM": say.PROGRAM}.items():
        template = template.replace(f"@{name}@", text)
    return template
