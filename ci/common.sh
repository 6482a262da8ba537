# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Shared by the scripts of this folder: where things live and how to say that something failed.
# Source it after `set -euo pipefail`.

CI_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
TOP_DIR=$(dirname "$CI_DIR")
# shellcheck disable=SC2034 # for the scripts that source this file
BUILD_DIR=${BUILD_DIR:-$TOP_DIR/build}
# What costs a download or a minute to make is kept outside the build folder: `make clean` leaves it.
# shellcheck disable=SC2034
CACHE_DIR=${HATAKE_CACHE:-${XDG_CACHE_HOME:-/var/cache}/hatake}

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# die CODE MESSAGE...: 1 = failed, 2 = wrong use, 3 = this machine cannot do it (callers fall back).
die() {
	local code=$1
	shift
	say "$*"
	exit "$code"
}

need_root() { [ "$(id -u)" = 0 ] || die 2 "must be run as root"; }

# The Debian archive this machine is configured for, and the name of its own suite.
debian_suite() { sed -n 's/^VERSION_CODENAME=//p' /etc/os-release; }
debian_mirror() {
	# shellcheck disable=SC2016
	apt-get indextargets --format '$(CREATED_BY) $(RELEASE) $(COMPONENT) $(REPO_URI)' |
		awk -v s="$(debian_suite)" '$1 == "Packages" && $2 == s && $3 == "main" { print $4; exit }'
}

# debian_tree SUITE PACKAGES FOLDER: a minimal Debian with these packages, from the archive that apt uses here. Its log is beside it.
debian_tree() {
	local mirror log=${3%.new}.log
	command -v debootstrap >/dev/null || die 3 "debootstrap is not installed (ci/packages installs it)"
	mirror=$(debian_mirror)
	[ -n "$mirror" ] || die 3 "no Debian archive is configured for apt on this machine"
	rm -rf "$3"
	mkdir -p "$(dirname "$3")"
	say "making a $1 tree, a minute or two (log: $log)"
	if ! debootstrap --variant=minbase --include="$2" "$1" "$3" "$mirror" >"$log" 2>&1 9>&-; then
		rm -rf "$3"
		die 3 "no $1 tree can be made from the archive configured for apt: $(tail -n 1 "$log")"
	fi
	rm -rf "$3"/var/cache/apt/archives/*.deb
}

# with_lock FILE COMMAND...: one at a time; the descriptor is not inherited by what the command starts.
with_lock() {
	local file=$1
	shift
	mkdir -p "$(dirname "$file")"
	exec 9>"$file"
	flock 9
	"$@"
}
