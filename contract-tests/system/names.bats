#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Names of containers while the processes that serve them are killed. In a lab of its own.
load helpers

setup_file() {
    if [ "$ENGINE_HOST" = "${REFERENCE_HOST-}" ]; then skip "the reference's names end with its daemon"; fi
    own_lab engine neighbour
    need_image busybox
}
teardown_file() {
    [ -d "/run/$OWN_LAB" ] || return 0
    own_lab_down
}
setup() {
    own_lab_env
    N=nam$$-$BATS_TEST_NUMBER-$RANDOM
    request GET /_ping || own_start
}
teardown() {
    touch "$BATS_TEST_TMPDIR/count.stop"
    remove_ours
    docker network rm "$N" >/dev/null 2>&1 || true
}

netd() { # its process in this lab's network namespace
    local p
    for p in $(ip netns pids "$SUBJECT_NETNS"); do
        [ "$(cat "/proc/$p/comm" 2>/dev/null)" != hatake-netd ] || echo "$p"
    done
}
another_netd() { [ -n "$(netd)" ] && [ "$(netd)" != "$1" ]; }
# Good answers so far; more than that.
answers() { cat "$BATS_TEST_TMPDIR/count" 2>/dev/null || echo 0; }
more_than() { [ "$(answers)" -gt "$1" ]; }
go_on() { poll more_than $(($(answers) + 100)); }

# Two containers, and one that asks for the other all the time.
begin() {
    docker network create --subnet 10.232.1.0/24 "$N"
    docker run -d --name "$N-a" --network "$N" --ip 10.232.1.2 busybox sleep 1000
    docker run -d --name "$N-b" --network "$N" --ip 10.232.1.3 --network-alias web -p 8082:80 busybox sh -c \
        'mkdir /www; echo here >/www/index.html; exec httpd -f -p 80 -h /www'
    pid=$(docker inspect -f '{{.State.Pid}}' "$N-a")
    nsenter -t "$pid" -n "$BATS_TEST_DIRNAME/ask-names" web 10.232.1.3 "$BATS_TEST_TMPDIR/count" >"$BATS_TEST_TMPDIR/said" 3>&- &
    job=$!
    poll more_than 100
}
page() { [ "$(in_neighbour curl -sSf --max-time 60 "http://$SUBJECT_ADDRESS:8082/")" = here ]; }

# finish KILLS: at most one question was on its way in each process that was killed.
finish() {
    touch "$BATS_TEST_TMPDIR/count.stop"
    wait "$job"
    run -0 cat "$BATS_TEST_TMPDIR/said"
    contains "$output" 'wrong 0'
    [ "$(awk '{print $2}' <<<"$output")" -le "$1" ] || fail "$output"
}

@test "names are answered while hatake-netd is killed again and again" {
    local i old rules
    begin
    rules=$(nsenter -t "$pid" -n iptables -t nat -S)
    for i in 1 2 3 4 5; do
        old=$(netd)
        kill -KILL "$old"
        poll another_netd "$old"
        go_on
        poll page
    done
    same "$rules" "$(nsenter -t "$pid" -n iptables -t nat -S)"
    # The published port is still nobody else's.
    run ! in_engine_net timeout 60 python3 -c 'import socket; socket.socket().bind(("0.0.0.0", 8082))'
    finish 5
}

@test "names are answered without hataked, and by the next one, also when both were killed" {
    local old
    begin
    old=$(netd)
    own_kill
    go_on
    page
    own_start
    go_on
    same "$old" "$(netd)"
    own_kill
    kill -KILL "$old"
    own_start
    poll another_netd "$old"
    go_on
    page
    finish 1
    # What comes and goes is known.
    same 10.232.1.2 "$(docker exec "$N-b" nslookup "$N-a" | awk '/^Address: / {print $2}')"
    docker rm -f "$N-a"
    run ! docker exec "$N-b" nslookup "$N-a"
}

@test "hatake-netd goes when nobody needs it any more" {
    begin
    [ -n "$(netd)" ]
    touch "$BATS_TEST_TMPDIR/count.stop"
    wait "$job"
    docker rm -f "$N-a" "$N-b"
    none() { [ -z "$(netd)" ]; }
    poll none
}
