#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Containers that another OCI runtime makes: runc and crun as Debian has them, below our monitor. In a lab of their own.
load helpers

OTHERS=(--add-runtime "other=$(command -v runc || echo none)" --add-runtime "crun=$(command -v crun || echo none)")

setup_file() {
    only_ours_file "the scenario container/runtimes asks it" || return 0
    command -v runc >/dev/null || skip_file "no runc on this machine" || return 0
    own_lab engine
    # crun takes one layout or the other, not v1 with controllers left on v2.
    inside sh -c 'umount /sys/fs/cgroup/unified 2>/dev/null || true'
    own_restart "${OTHERS[@]}"
    need_image busybox
}
setup() {
    begin_test
    request GET /_ping || own_start "${OTHERS[@]}"
}

need_crun() { command -v crun >/dev/null || skip "no crun on this machine"; }
leftover() { inside sh -c "ls /run/docker/runtime-runc/moby 2>/dev/null | grep -c '^$1' || true"; }
nothing_left() { [ "$(leftover "$1")" = 0 ] && ! inside sh -c 'cat /proc/*/mountinfo 2>/dev/null' | grep -q "$1"; }

@test "crun: output, input, exit code, terminal, user and limits" {
    need_crun
    run -7 --separate-stderr docker run --rm --runtime crun -m 64m --user 3:4 busybox sh -c 'id -u; cat /sys/fs/cgroup/memory/memory.limit_in_bytes; echo err >&2; exit 7'
    # shellcheck disable=SC2154
    same "3
67108864" "$output"
    same err "$stderr"
    same hello "$(echo hello | docker run --rm -i --runtime crun busybox cat)"
    run -0 "$PTY" --size 70x19 -- "$CLI" -H "$ENGINE_HOST" run --rm -it --runtime crun busybox stty size
    contains "$output" "70 19"
}

@test "crun: exec, signals, pause, update, health, restart, and nothing left after rm" {
    need_crun
    local id
    id=$(docker run -d --name "$N" --runtime crun --health-cmd true --health-interval 200ms busybox \
        sh -c 'trap "echo usr1" USR1; trap "exit 9" TERM; while :; do usleep 20000; done')
    run -5 docker exec "$N" sh -c 'echo in; exit 5'
    same in "$output"
    run -126 docker exec "$N" nope
    contains "$output" "OCI runtime exec failed: executable file"
    docker kill -s USR1 "$N"
    poll eval "docker logs $N | grep -q usr1"
    docker pause "$N"
    same paused "$(state_of "$N")"
    docker unpause "$N"
    docker update -m 100m --memory-swap 100m "$N"
    same 104857600 "$(docker exec "$N" cat /sys/fs/cgroup/memory/memory.limit_in_bytes)"
    poll eval "[ \$(docker inspect -f '{{.State.Health.Status}}' $N) = healthy ]"
    docker restart "$N"
    docker stop "$N"
    same 9 "$(docker inspect -f '{{.State.ExitCode}}' "$N")"
    docker rm "$N"
    poll nothing_left "$id"
}

# Its words are not those by which clients tell 127.
# shellcheck disable=SC2016
@test "crun: a program that is not there" {
    need_crun
    run -125 docker run --name "$N" --runtime crun busybox nope
    contains "$output" 'OCI runtime create failed: executable file `nope` not found in $PATH'
    same created "$(docker inspect -f '{{.State.Status}}' "$N")"
    docker rm "$N"
}

@test "a container of another runtime lives on when the daemon is killed: log, exec, attach and exit code" {
    local id pid
    id=$(docker run -dit --name "$N" --runtime other busybox sh -c 'while [ ! -e /go ]; do echo tick; usleep 50000; done; exit 6')
    pid=$(docker inspect -f '{{.State.Pid}}' "$N")
    own_kill
    test -d "/proc/$pid"
    own_start --add-runtime "other=$(command -v runc)"
    same "$pid running" "$(docker inspect -f '{{.State.Pid}} {{.State.Status}}' "$N")"
    same hello "$(docker exec "$N" echo hello)"
    docker pause "$N"
    docker unpause "$N"
    docker exec "$N" touch /go
    same 6 "$(docker wait "$N")"
    docker logs "$N" | grep -q tick
    docker rm "$N"
    poll nothing_left "$id"
}

@test "its monitor is killed: the container ends, the next start works, and rm takes the runtime's state away" {
    local id pid
    id=$(docker run -d --name "$N" --runtime other busybox sleep 1000)
    pid=$(docker inspect -f '{{.State.Pid}}' "$N")
    kill -KILL "$(awk '/^PPid:/ { print $2 }' "/proc/$pid/status")"
    poll is_state "$N" exited
    same 1 "$(leftover "$id")"
    docker start "$N"
    pid=$(docker inspect -f '{{.State.Pid}}' "$N")
    kill -KILL "$(awk '/^PPid:/ { print $2 }' "/proc/$pid/status")"
    poll is_state "$N" exited
    docker rm "$N"
    poll nothing_left "$id"
}

@test "binds reach the machine and come from it, volumes and their folders are found" {
    docker volume create "$N-v" >/dev/null
    docker run --rm --runtime other -v "$N-v:/v" busybox sh -c 'mkdir /v/sub; echo deep >/v/sub/f'
    same deep "$(docker run --rm --runtime other --mount "type=volume,source=$N-v,target=/s,volume-subpath=sub" busybox cat /s/f)"
    mkdir -p "$ENGINE_SHARE/$N"
    docker run -d --name "$N" --runtime other --privileged -v "/srv/lab/$N:/b:rshared" busybox sleep 1000
    docker exec "$N" sh -c 'mkdir /b/m; mount -t tmpfs x /b/m; echo up >/b/m/f'
    same up "$(inside cat "/srv/lab/$N/m/f")"
    docker exec "$N" umount /b/m
    rm -rf "${ENGINE_SHARE:?}/$N"
}

@test "a log driver, a name server and a network of its own work as for our runtime" {
    docker network create "$N-n" >/dev/null
    docker run -d --name "$N-a" --runtime other --network "$N-n" busybox sleep 1000
    same 0 "$(docker run --rm --runtime other --network "$N-n" busybox sh -c "ping -c1 -W5 $N-a >/dev/null; echo \$?")"
    docker rm -f "$N-a"
    docker network rm "$N-n"
}
