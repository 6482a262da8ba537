# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Completion for hataked and hatake. Flags and commands are asked of the programs, names of the engine.

_hatake_flags() { # COMMAND...: the flags in its help
	"$@" 2>/dev/null | sed -n 's/^  \(\(-[A-Za-z]\), \|    \)--\([a-z0-9-]*\).*/\2 --\3/p'
}

_hataked() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	COMPREPLY=()
	case $prev in
	--config-file | --seccomp-profile | --pidfile | -p | --tlscacert | --tlscert | --tlskey | --init-path | --userland-proxy-path)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
	--data-root | --exec-root | --cdi-spec-dir)
		mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
	--group | -G)
		mapfile -t COMPREPLY < <(compgen -g -- "$cur") ;;
	--host | -H)
		mapfile -t COMPREPLY < <(compgen -W "unix:// tcp:// fd://" -- "$cur") ;;
	--log-level | -l)
		mapfile -t COMPREPLY < <(compgen -W "debug info warn error fatal" -- "$cur") ;;
	--log-format)
		mapfile -t COMPREPLY < <(compgen -W "text json" -- "$cur") ;;
	--log-driver)
		mapfile -t COMPREPLY < <(compgen -W "json-file local none syslog journald gelf fluentd" -- "$cur") ;;
	--storage-driver | -s)
		mapfile -t COMPREPLY < <(compgen -W "overlay2 vfs" -- "$cur") ;;
	--default-cgroupns-mode)
		mapfile -t COMPREPLY < <(compgen -W "host private" -- "$cur") ;;
	--default-ipc-mode)
		mapfile -t COMPREPLY < <(compgen -W "private shareable" -- "$cur") ;;
	*)
		mapfile -t COMPREPLY < <(compgen -W "$(_hatake_flags "${COMP_WORDS[0]}" --help)" -- "$cur") ;;
	esac
}

_hatake_names() { # running or all: names of containers, which stand last in the list
	local all=()
	[ "$1" = all ] && all=(-a)
	hatake ps "${all[@]}" 2>/dev/null | awk 'NR > 1 { print $NF }'
}

_hatake_images() { hatake images 2>/dev/null | awk 'NR > 1 && $1 != "<none>" { print $1 ($2 == "latest" ? "" : ":" $2) }'; }

_hatake_volumes() { hatake volume ls -q 2>/dev/null; }

# After `hatake volume`, which stands at $1: its commands, and what they take.
_hatake_volume() {
	local cur=${COMP_WORDS[COMP_CWORD]} at=$1 command=${COMP_WORDS[$1 + 1]} words=''
	if ((COMP_CWORD == at + 1)); then
		words=$(hatake help volume 2>/dev/null | sed -n 's/^  volume \([a-z]*\) .*/\1/p')
	elif [[ $cur == -* ]]; then
		words=$(_hatake_flags hatake help volume "$command")
	elif [[ $command == @(backup|restore) && (${COMP_WORDS[COMP_CWORD - 1]} == --passphrase-file || $COMP_CWORD -gt $((at + 2))) ]]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
	elif [[ $command == @(rm|inspect|backup|restore) ]]; then
		words=$(_hatake_volumes)
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

_hatake() {
	local cur=${COMP_WORDS[COMP_CWORD]} command='' i words=''
	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-H | --host) i=$((i + 1)) ;;
		-*) ;;
		*)
			command=${COMP_WORDS[i]}
			break
			;;
		esac
	done
	if [ "$command" = volume ]; then
		_hatake_volume "$i"
		return
	fi
	if [ -z "$command" ]; then
		words="--host --quiet --version $(hatake help 2>/dev/null | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')"
	elif [[ $cur == -* ]]; then
		words=$(_hatake_flags hatake help "$command")
	else
		case $command in
		exec | stop | kill) words=$(_hatake_names running) ;;
		logs | start | rm | wait) words=$(_hatake_names all) ;;
		run | rmi | sbom) words=$(_hatake_images) ;;
		inspect) words="$(_hatake_names all) $(_hatake_images) $(_hatake_volumes)" ;;
		load)
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			return
			;;
		help) words=$(hatake help 2>/dev/null | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p') ;;
		esac
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _hataked hataked
complete -F _hatake hatake
