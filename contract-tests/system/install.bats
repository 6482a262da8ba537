#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What `make install` puts where, and that `make uninstall` takes it all away.
load helpers

setup_file() {
    only_ours_file "installs this engine" || return 0
    export TO=$BATS_FILE_TMPDIR/to
    make -s -C "$TOP" install "DESTDIR=$TO" prefix=/opt/hatake >&2
}
setup() {
    begin_test
    P=$TO/opt/hatake
}

@test "programs, helpers, units, manual pages, completion, the first image and an example configuration are there" {
    local file
    for file in bin/hataked bin/hatake bin/hatake-runtime libexec/hatake/hatake-monitor libexec/hatake/hatake-netd libexec/hatake/hatake-init libexec/hatake/hatake-unpack \
        libexec/hatake/hatake-files libexec/hatake/hatake-logtls libexec/hatake/hatake-mount lib/systemd/system/hatake.service lib/systemd/system/hatake.socket lib/sysusers.d/hatake.conf \
        share/man/man8/hataked.8 share/man/man1/hatake.1 share/bash-completion/completions/hatake share/bash-completion/completions/hataked \
        share/doc/hatake/daemon.json share/doc/hatake/policy.json share/doc/hatake/LICENSE share/doc/hatake/COMPAT.md share/hatake/busybox.tar; do
        test -e "$P/$file" || fail "$file is missing"
    done
    same "$(cd "$TO" && find . -type f | sort)" "$(cd "$TO" && find ./opt/hatake -type f | sort)" "something lies outside of the prefix"
    grep -q '^ExecStart=/opt/hatake/bin/hataked ' "$P/lib/systemd/system/hatake.service"
}

@test "the installed programs run, and the example configuration is right" {
    run -0 "$P/bin/hataked" --version
    run -0 "$P/bin/hataked" --validate --config-file "$P/share/doc/hatake/daemon.json"
    contains "$output" 'configuration OK'
    run -0 "$P/bin/hatake" --version
    run -0 "$P/bin/hatake-runtime" --version
}

@test "the manual page names every flag" {
    local flag
    while read -r flag; do
        tr -d '\\' <"$P/share/man/man8/hataked.8" | grep -q -- "--$flag" || fail "--$flag is not in hataked(8)"
    done < <("$P/bin/hataked" --help | sed -n 's/^  \(\(-[A-Za-z]\), \|    \)--\([a-z0-9-]*\).*/\3/p')
}

@test "the manual page of hatake names commands of two words with their options" {
    page() { tr -d '\\' <"$P/share/man/man1/hatake.1"; }
    contains "$(page)" 'hatake volume restore [OPTIONS] NAME FILE'
    contains "$(page)" '--passphrase-file'
}

@test "completion: flags, values, commands" {
    completed() { # WORD...: what follows the last of them
        PATH=$P/bin:$PATH bash -c '. "$1"; shift; f=_$1; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); $f; echo "${COMPREPLY[*]}"' - "$P/share/bash-completion/completions/hatake" "$@"
    }
    same --default-shm-size "$(completed hataked --default-sh)"
    contains "$(completed hataked --log-driver '')" 'json-file local none'
    same run "$(completed hatake ru)"
    same restore "$(completed hatake volume re)"
    contains "$(completed hatake volume backup --p)" '--passphrase-file'
}

@test "make uninstall leaves nothing" {
    make -s -C "$TOP" uninstall "DESTDIR=$TO" prefix=/opt/hatake
    same '' "$(find "$TO" ! -type d)"
}

@test "make run and make stop: the engine runs a container, and at the end neither is there any more" {
    local demo=$BATS_TEST_TMPDIR/build pid container
    mkdir -p "$demo/images"
    cp "$(dirname "$IMAGES")/images/busybox/docker.tar" "$demo/images/busybox.tar"
    # a network of its own, and a /run
    demo() { unshare --net --mount sh -c 'mount -t tmpfs tmpfs /run && ip link set lo up && "$@"' - env "BUILD_DIR=$demo" "HATAKED=$HATAKED" "$CI/run-demo" "$@" 3>&-; }
    run -0 demo up
    contains "$output" 'Hello from a container.'
    pid=$(cat "$demo/run/pid")
    container=$(nsenter -m -n -t "$pid" "$TOP/build/bin/hatake" -H unix:///run/hatake/hatake.sock run -d busybox top)
    container=$(nsenter -m -n -t "$pid" "$TOP/build/bin/hatake" -H unix:///run/hatake/hatake.sock inspect "$container" | sed -n 's/.*"Pid": *\([0-9]*\).*/\1/p')
    test -d "/proc/$container"
    nsenter -m -n -t "$pid" env "BUILD_DIR=$demo" "HATAKED=$HATAKED" "$CI/run-demo" down
    test ! -d "/proc/$pid"
    test ! -d "/proc/$container"
}
