#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# hatake-runtime with real containers. Needs root, busybox-static, python3. RUNTIME names the program (default build/bin/hatake-runtime).

setup() {
    [ "$(id -u)" = 0 ] || skip "needs root"
    [ -x /bin/busybox ] || skip "needs busybox-static"
    RT="${RUNTIME:-$PWD/build/bin/hatake-runtime}"
    D=$(mktemp -d)
    mkdir -p "$D"/b/rootfs/{bin,proc,sys,dev,tmp,etc}
    cp /bin/busybox "$D/b/rootfs/bin/"
    for a in sh cat id ls sleep true echo grep mount touch; do ln -s busybox "$D/b/rootfs/bin/$a"; done
    run_rt spec --bundle "$D/b"
    ID="t$$-$BATS_TEST_NUMBER"
    edit "d['process']['terminal']=False; d['linux']['cgroupsPath']='/hatake-test/$ID'"
}

teardown() {
    run_rt delete --force "$ID" || true
    # the oracle: nothing is left
    ! find /sys/fs/cgroup -maxdepth 3 -path "*hatake-test/$ID" | grep -q .
    ! grep -q "$D" /proc/self/mountinfo
    rm -rf "$D"
}

run_rt() { "$RT" --root "$D/state" "$@"; }

edit() { # python statements on d
    /usr/bin/python3 -c "
import json,sys
d=json.load(open('$D/b/config.json'))
$1
json.dump(d,open('$D/b/config.json','w'))"
}

args() { edit "d['process']['args']=$1"; }

@test "run passes the exit code and the output" {
    args "['sh','-c','echo out; exit 7']"
    run run_rt run --bundle "$D/b" "$ID"
    [ "$status" = 7 ]
    [ "$output" = out ]
}

@test "create, start, state, kill, delete" {
    args "['sleep','100']"
    run_rt create --bundle "$D/b" --pid-file "$D/pid" "$ID" >/dev/null 2>&1 </dev/null 3>&-
    [ -d "/proc/$(cat "$D/pid")" ]
    run_rt state "$ID" | grep -q '"status": "created"'
    run_rt start "$ID"
    run_rt state "$ID" | grep -q '"status": "running"'
    run run_rt delete "$ID"
    [ "$status" = 1 ]
    run_rt kill "$ID" KILL
    sleep 0.3
    run_rt state "$ID" | grep -q '"status": "stopped"'
    run_rt delete "$ID"
    run run_rt state "$ID"
    [[ "$output" == *"container does not exist"* ]]
}

@test "a missing program is named" {
    args "['nope']"
    run run_rt run --bundle "$D/b" "$ID"
    [ "$status" = 1 ]
    [[ "$output" == *'exec: "nope": executable file not found in $PATH' ]]
}

@test "exec joins the namespaces and the cgroup" {
    args "['sleep','100']"
    run_rt run --detach --bundle "$D/b" "$ID" >/dev/null 2>&1 </dev/null 3>&-
    run run_rt exec "$ID" sh -c 'cat /proc/1/comm; cat /proc/self/cgroup | grep -c "/$" ; exit 3'
    [ "$status" = 3 ]
    [ "${lines[0]}" = sleep ]
}

@test "pause, resume, ps" {
    args "['sleep','100']"
    run_rt run --detach --bundle "$D/b" "$ID" >/dev/null 2>&1 </dev/null 3>&-
    run_rt pause "$ID"
    run_rt state "$ID" | grep -q '"status": "paused"'
    run_rt resume "$ID"
    [ "$(run_rt ps "$ID" | wc -l)" = 1 ]
}

@test "the root and masked places cannot be written" {
    args "['sh','-c','touch /x; echo 1 > /proc/sys/kernel/panic; cat /proc/keys; echo end']"
    run run_rt run --bundle "$D/b" "$ID"
    [[ "$output" == *"/x: Read-only file system"* ]]
    [[ "$output" == *"panic: Read-only file system"* ]]
    [ "${lines[-1]}" = end ]
}

@test "a link at /proc or a device link in /dev reaches nothing outside" {
    rmdir "$D/b/rootfs/proc" && ln -s /etc "$D/b/rootfs/proc"
    args "['true']"
    run run_rt run --bundle "$D/b" "$ID"
    [ "$status" = 1 ]
    [[ "$output" == *"must be mounted on ordinary directory"* ]]
}

@test "a working folder behind a descriptor is refused" {
    edit "d['process']['cwd']='/proc/self/fd/3/../..'; d['process']['args']=['true']"
    run run_rt run --bundle "$D/b" "$ID"
    [ "$status" = 1 ]
}

@test "hooks run in order and see the state" {
    edit "
h=lambda n:[{'path':'/bin/sh','args':['sh','-c','echo %s >> $D/hooks; cat >> $D/hooks.state'%n]}]
d['hooks']={k:h(k) for k in ('prestart','createRuntime','createContainer','poststart','poststop')}
d['process']['args']=['true']"
    run_rt create --bundle "$D/b" "$ID" >/dev/null 2>&1 </dev/null 3>&-
    run_rt start "$ID"
    sleep 0.2
    run_rt delete "$ID"
    [ "$(tr '\n' ' ' < "$D/hooks")" = "prestart createRuntime createContainer poststart poststop " ]
    grep -q '"status":"creating"' "$D/hooks.state"
}
