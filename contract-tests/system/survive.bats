#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Containers live on when the daemon is killed, and the next one takes them up as if nothing had been. In a lab of their own.
load helpers

setup_file() {
    only_ours_file "it ends its containers at the next start" || return 0
    own_lab engine neighbour
    need_image busybox
}
setup() {
    begin_test
    request GET /_ping || own_start
}

# ends_on_term CODE FLAG...: a container that runs until it gets SIGTERM
ends_on_term() {
    local code=$1
    shift
    docker run -d --name "$N" "$@" busybox sh -c "trap 'exit $code' TERM; echo ready; while :; do usleep 50000; done"
    poll eval "docker logs $N | grep -q ready"
}

crash() { # kill -9, then a new daemon
    own_kill
    own_start "$@"
}

@test "a running container keeps its process, its start time and its address" {
    local before
    docker run -d --name "$N" busybox sleep 1000
    before=$(docker inspect -f '{{.State.Pid}} {{.State.StartedAt}} {{.NetworkSettings.IPAddress}} {{.State.Status}} {{.RestartCount}}' "$N")
    own_kill
    test -d "/proc/${before%% *}"
    own_start
    same "$before" "$(docker inspect -f '{{.State.Pid}} {{.State.StartedAt}} {{.NetworkSettings.IPAddress}} {{.State.Status}} {{.RestartCount}}' "$N")"
    same "running" "$(state_of "$N")"
}

@test "what was written while no daemon ran is in the log; logs -f goes on" {
    local id log pid n job out=$BATS_TEST_TMPDIR/followed
    id=$(docker run -d --name "$N" busybox sh -c 'i=0; until [ -e /end ]; do i=$((i+1)); echo line $i; usleep 5000; done')
    log=$ENGINE_ROOT/containers/$id/$id-json.log
    pid=$(docker inspect -f '{{.State.Pid}}' "$N")
    # longer FILE: by fifty lines more than now
    longer() { n=$(wc -l <"$1") && poll eval "[ \$(wc -l <'$1') -gt $((n + 50)) ]"; }
    longer "$log"
    own_kill
    longer "$log"
    own_start
    timeout 300 "$CLI" -H "$ENGINE_HOST" logs -f "$N" >"$out" 3>&- &
    job=$!
    poll test -s "$out"
    longer "$out"
    touch "/proc/$pid/root/end"
    job_ends 0 "$job"
    n=$(wc -l <"$out")
    seq -f 'line %g' 1 "$n" | cmp - "$out"
    same "$n" "$(wc -l <"$log")"
}

@test "exec, attach with input, and top of the kernel's side work on an adopted container" {
    docker run -dit --name "$N" busybox sh
    crash
    same hello "$(docker exec "$N" echo hello)"
    run -6 docker exec "$N" sh -c 'exit 6'
    run -9 "$PTY" --send '\r' --expect '/ # ' --send 'exit 9\r' -- "$CLI" -H "$ENGINE_HOST" attach "$N"
    poll is_state "$N" exited
    same 9 "$(docker inspect -f '{{.State.ExitCode}}' "$N")"
}

@test "wait on an adopted container gives its exit code" {
    docker run -d --name "$N" busybox sh -c 'trap "exit 17" TERM; while :; do usleep 50000; done'
    crash
    timeout 300 "$CLI" -H "$ENGINE_HOST" wait "$N" >"$BATS_TEST_TMPDIR/code" &
    local job=$!
    docker exec "$N" kill -TERM 1
    wait "$job"
    same 17 "$(cat "$BATS_TEST_TMPDIR/code")"
}

@test "a published port answers while no daemon runs, and after" {
    docker run -d --name "$N" -p 8081:80 busybox sh -c 'mkdir /www; echo here >/www/index.html; exec httpd -f -p 80 -h /www'
    poll in_neighbour curl -sSf --max-time 60 "http://$SUBJECT_ADDRESS:8081/"
    own_kill
    in_neighbour curl -sSf --max-time 60 "http://$SUBJECT_ADDRESS:8081/"
    own_start
    in_neighbour curl -sSf --max-time 60 "http://$SUBJECT_ADDRESS:8081/"
    in_engine_net curl -sSf --max-time 60 "http://127.0.0.1:8081/"
    same 0.0.0.0:8081 "$(docker port "$N" 80/tcp | head -n 1)"
    run -125 docker run -d --name "$N-2" -p 8081:80 busybox true
    docker rm -f "$N"
    run ! in_neighbour curl -sSf --max-time 2 "http://$SUBJECT_ADDRESS:8081/"
}

@test "health checks go on while no daemon runs, and the next one knows their results" {
    local pid
    docker run -d --name "$N" --health-cmd 'echo x >>/n; test $(wc -l </n) -lt 4' --health-interval 200ms --health-retries 1 busybox sleep 1000
    pid=$(docker inspect -f '{{.State.Pid}}' "$N")
    own_kill
    poll eval "[ \$(wc -l <'/proc/$pid/root/n') -ge 10 ]"
    own_start
    same 'unhealthy 5' "$(docker inspect -f '{{.State.Health.Status}} {{len .State.Health.Log}}' "$N")"
    contains "$(docker ps --filter "name=$N" --format '{{.Status}}')" '(unhealthy)'
    docker exec "$N" rm /n
    poll eval "[ \$(docker inspect -f '{{.State.Health.Status}}' $N) = healthy ]"
}

@test "results of health checks outlive a container that ended meanwhile" {
    local pid
    docker run -d --name "$N" --health-cmd 'echo y >>/n' --health-interval 100ms busybox sh -c 'until [ $(wc -l </n) -ge 8 ]; do usleep 20000; done; exit 4'
    pid=$(docker inspect -f '{{.State.Pid}}' "$N")
    own_kill
    poll test ! -d "/proc/$pid"
    own_start
    poll is_state "$N" exited
    same 'unhealthy 0 5 4' "$(docker inspect -f '{{.State.Health.Status}} {{.State.Health.FailingStreak}} {{len .State.Health.Log}} {{.State.ExitCode}}' "$N")"
}

@test "a container that ended meanwhile has its exit code and its end" {
    local pid
    ends_on_term 23
    pid=$(docker inspect -f '{{.State.Pid}}' "$N")
    own_kill
    kill -TERM "$pid"
    poll test ! -d "/proc/$pid"
    own_start
    same 'exited 23 0' "$(docker inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}}' "$N")"
    [[ $(docker inspect -f '{{.State.FinishedAt}}' "$N") == 20* ]] || fail "no end: $(docker inspect -f '{{.State.FinishedAt}}' "$N")"
    docker start "$N"
    same running "$(state_of "$N")"
}

@test "--rm: a container that ended meanwhile is removed by the next daemon" {
    local pid
    ends_on_term 0 --rm
    pid=$(docker inspect -f '{{.State.Pid}}' "$N")
    own_kill
    kill -TERM "$pid"
    poll test ! -d "/proc/$pid"
    own_start
    poll gone "$N"
}

@test "restart policies go on: on-failure after the crash, always for one that ended meanwhile" {
    ends_on_term 1 --restart always
    docker run -d --name "$N-f" --restart on-failure busybox sh -c 'trap "exit 3" TERM; while :; do usleep 50000; done'
    local pid
    pid=$(docker inspect -f '{{.State.Pid}}' "$N")
    own_kill
    kill -TERM "$pid"
    poll test ! -d "/proc/$pid"
    own_start
    poll is_state "$N" running
    docker exec "$N-f" kill -TERM 1
    poll eval "[ \$(docker inspect -f '{{.RestartCount}}' $N-f) -ge 1 ]"
    poll is_state "$N-f" running
}

@test "stop, kill, restart and rm work on adopted containers, and nothing is left" {
    local i
    docker run --rm --name "$N" busybox true
    "$CI/leaks" snapshot "$BATS_TEST_TMPDIR/census" --lab engine
    for i in 1 2 3 4; do docker run -d --name "$N-$i" busybox sleep 1000; done
    crash
    docker kill "$N-1"
    poll is_state "$N-1" exited
    docker stop -t 1 "$N-2"
    same 137 "$(docker inspect -f '{{.State.ExitCode}}' "$N-2")"
    docker restart -t 1 "$N-3"
    same running "$(state_of "$N-3")"
    docker rm -f "$N-1" "$N-2" "$N-3" "$N-4"
    "$CI/leaks" compare "$BATS_TEST_TMPDIR/census" --settle 60 --ignore '^(thread|descriptor|inotify|socket): |hatake-launcher'
}

# begun ROUND K: a container that ends with a code of its own a moment later, noted where its start was told
begun() {
    local code=$((($1 * 4 + $2) % 200 + 1))
    docker run -d --name "$N-$1-$2" busybox sh -c "echo begin $code; usleep $((RANDOM * 20)); echo end $code; exit $code" >/dev/null 2>&1 3>&- &&
        echo "$N-$1-$2 $code" >>"$BATS_TEST_TMPDIR/begun"
}

@test "ten crashes while containers come and go lose no byte of a log and no exit code (LONG=1: fifty)" {
    local i before crashes=${LONG:+50} name code asking
    docker run -d --name "$N" busybox sh -c 'i=0; while :; do i=$((i+1)); echo $i; usleep 3000; done'
    before=$(docker inspect -f '{{.State.Pid}}' "$N")
    touch "$BATS_TEST_TMPDIR/begun"
    while sleep 0.1; do docker ps -a || true; docker logs --tail 10 "$N" || true; done >/dev/null 2>&1 3>&- &
    asking=$!
    for i in $(seq "${crashes:-10}"); do
        begun "$i" 1 &
        begun "$i" 2 &
        begun "$i" 3 &
        begun "$i" 4 &
        # in the middle of what they are doing, and each time elsewhere
        poll eval "[ $((i % 3)) = 0 ] || grep -q '^$N-$i-' '$BATS_TEST_TMPDIR/begun'"
        crash
    done
    kill "$asking"
    # shellcheck disable=SC2046
    wait $(jobs -p | grep -vx "$asking") || true
    same "$before" "$(docker inspect -f '{{.State.Pid}}' "$N")"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/begun")" -ge "${crashes:-10}" ]
    while read -r name code; do
        same "$code" "$(timeout 300 "$CLI" -H "$ENGINE_HOST" wait "$name")" "$name"
        same "begin $code"$'\n'"end $code" "$(docker logs "$name")" "$name"
    done <"$BATS_TEST_TMPDIR/begun"
    docker kill "$N"
    docker logs "$N" >"$BATS_TEST_TMPDIR/log"
    seq 1 "$(wc -l <"$BATS_TEST_TMPDIR/log")" | cmp - "$BATS_TEST_TMPDIR/log"
}

@test "a container that is being created when the daemon dies leaves no half of it" {
    "$CI/leaks" snapshot "$BATS_TEST_TMPDIR/census" --lab engine
    seq 40 | xargs -P 8 -I{} "$CLI" -H "$ENGINE_HOST" create --name "$N-{}" busybox true >/dev/null 2>&1 &
    poll eval "[ \$(docker ps -aq --filter name=$N | wc -l) -ge 5 ]"
    own_kill
    wait || true
    own_start
    docker ps -aq --filter "name=$N" | xargs -r "$CLI" -H "$ENGINE_HOST" rm -f >/dev/null
    "$CI/leaks" compare "$BATS_TEST_TMPDIR/census" --settle 60 --ignore '^(thread|descriptor|inotify|socket|link|address|neighbour|route): |hatake-launcher'
}

@test "SIGTERM stops the containers in order: TERM first; the exit code is known afterwards" {
    local pid
    docker run -d --name "$N" busybox sh -c 'trap "echo bye; exit 19" TERM; echo ready; while :; do usleep 50000; done'
    poll eval "docker logs $N | grep -q ready"
    pid=$(docker inspect -f '{{.State.Pid}}' "$N")
    own_restart
    test ! -d "/proc/$pid"
    same 'exited 19' "$(docker inspect -f '{{.State.Status}} {{.State.ExitCode}}' "$N")"
    contains "$(docker logs "$N")" bye
}

@test "SIGTERM with open streams: attach, logs -f, events, stats and wait end, and the daemon does not wait for their clients" {
    local i pid jobs=()
    docker run -d --name "$N" busybox sh -c 'trap "exit 0" TERM; echo ready; while :; do usleep 50000; done'
    poll eval "docker logs $N | grep -q ready"
    for i in 'logs?stdout=1&follow=1' 'stats?stream=1'; do
        curl -sS -N --max-time 120 --unix-socket "${ENGINE_HOST#unix://}" -D "$BATS_TEST_TMPDIR/head-${#jobs[@]}" -o "$BATS_TEST_TMPDIR/out-${#jobs[@]}" \
            "http://engine/v1.45/containers/$N/$i" 2>/dev/null &
        jobs+=($!)
    done
    for i in 'wait' 'attach?stream=1&stdout=1'; do
        curl -sS -N --max-time 120 --unix-socket "${ENGINE_HOST#unix://}" -X POST -D "$BATS_TEST_TMPDIR/head-${#jobs[@]}" -o "$BATS_TEST_TMPDIR/out-${#jobs[@]}" \
            "http://engine/v1.45/containers/$N/$i" 2>/dev/null &
        jobs+=($!)
    done
    curl -sS -N --max-time 120 --unix-socket "${ENGINE_HOST#unix://}" -D "$BATS_TEST_TMPDIR/head-4" -o "$BATS_TEST_TMPDIR/out-4" http://engine/v1.45/events 2>/dev/null &
    jobs+=($!)
    for i in 0 1 2 3 4; do poll grep -q '200 OK' "$BATS_TEST_TMPDIR/head-$i"; done
    pid=$(engine_pid)
    kill -TERM "$pid"
    poll test ! -d "/proc/$pid"
    for i in 0 1 2 3 4; do
        # 0: the stream was ended; 18: it was cut; 28 would be curl's own limit.
        local code=0
        wait "${jobs[$i]}" || code=$?
        case $code in 0 | 18) ;; *) fail "stream $i ended with $code" ;; esac
    done
    contains "$(cat "$BATS_TEST_TMPDIR/out-0")" ready
    contains "$(cat "$BATS_TEST_TMPDIR/out-2")" '"StatusCode":0'
    contains "$(cat "$BATS_TEST_TMPDIR/out-4")" '"Action":"die"'
    own_start
    same 'exited 0' "$(docker inspect -f '{{.State.Status}} {{.State.ExitCode}}' "$N")"
}

@test "SIGTERM: --restart always runs again with the next daemon, unless-stopped too, a stopped one does not" {
    # with an init, which ends on SIGTERM
    docker run -d --init --name "$N-a" --restart always busybox sleep 1000
    docker run -d --init --name "$N-u" --restart unless-stopped busybox sleep 1000
    docker run -d --init --name "$N-s" --restart unless-stopped busybox sleep 1000
    docker run -d --init --name "$N-n" busybox sleep 1000
    docker stop -t 0 "$N-s"
    own_restart
    poll is_state "$N-a" running
    poll is_state "$N-u" running
    same exited "$(state_of "$N-s")"
    same exited "$(state_of "$N-n")"
}

@test "--live-restore: SIGTERM leaves the containers running, the next daemon has them" {
    local pid
    own_restart --live-restore
    docker run -d --name "$N" busybox sh -c 'i=0; while :; do i=$((i+1)); echo $i; usleep 50000; done'
    pid=$(docker inspect -f '{{.State.Pid}}' "$N")
    own_restart --live-restore
    test -d "/proc/$pid"
    same "running $pid" "$(docker inspect -f '{{.State.Status}} {{.State.Pid}}' "$N")"
    same yes "$(docker exec "$N" echo yes)"
    same true "$(docker info -f '{{.LiveRestoreEnabled}}')"
    docker rm -f "$N"
    own_restart
}

@test "one trace id leads through the log of every process: daemon, launcher, monitor, netd" {
    local id trace part
    own_restart -D
    need_image busybox
    id=$(docker create --name "$N" busybox sh -c 'exit 3')
    request POST "/v1.45/containers/$N/start"
    same 204 "$STATUS"
    trace=$(sed -n 's/^X-Hatake-Trace: //Ip' <<<"$HEAD")
    same 3 "$(docker wait "$N")"
    for part in operation=ContainerStart 'process=hatake-launcher' "the container runs" "the container ended with code 3"; do
        poll grep -q "trace=$trace.*$part\|$part.*trace=$trace" "$ENGINE_LOG"
    done
    grep "trace=$trace" "$ENGINE_LOG" | grep -q "process=hatake-monitor.*container=$id"
    docker rm "$N"
    # Ports and names of the request are hatake-netd's, which tells what becomes of them, also later.
    docker network create "$N" >/dev/null
    docker create --name "$N" --network "$N" -p 127.0.0.1::80 busybox sleep 1000 >/dev/null
    request POST "/v1.45/containers/$N/start"
    same 204 "$STATUS"
    trace=$(sed -n 's/^X-Hatake-Trace: //Ip' <<<"$HEAD")
    for part in "published ports are kept" "names are known" "a container's names are served"; do
        poll grep -q "$part.*trace=$trace.*process=hatake-netd" "$ENGINE_LOG"
    done
    request POST "/v1.45/networks/$N/disconnect" "{\"Container\":\"$N\"}"
    same 200 "$STATUS"
    trace=$(sed -n 's/^X-Hatake-Trace: //Ip' <<<"$HEAD")
    poll grep -q "published ports are given up.*trace=$trace.*process=hatake-netd" "$ENGINE_LOG"
    docker rm -f "$N" >/dev/null
    docker network rm "$N" >/dev/null
    own_restart
}

@test "a container without binds starts among few mounts, sees those made later on volumes, and keeps none in use" {
    local pid monitor
    docker volume create "$N-v" >/dev/null
    inside mkdir -p "/run/$N"
    inside mount -t tmpfs x "/run/$N"
    docker run -d --name "$N" busybox sleep 1000
    pid=$(docker inspect -f '{{.State.Pid}}' "$N")
    monitor=$(awk '/^PPid:/ { print $2 }' "/proc/$pid/status")
    run -1 grep -q ' /dev/shm ' "/proc/$monitor/mountinfo"
    # an unmount that is not lazy fails where anybody uses it
    inside umount "/run/$N"
    inside mount -t tmpfs x "/var/lib/docker/volumes/$N-v/_data"
    inside touch "/var/lib/docker/volumes/$N-v/_data/late"
    same late "$(docker run --rm -v "$N-v:/v" busybox ls /v)"
    inside umount "/var/lib/docker/volumes/$N-v/_data"
    docker rm -f "$N"
    docker volume rm "$N-v"
}

@test "a daemon that is stopped until no news fits any more: its containers run on, and it learns what it missed" {
    local pid id exec
    id=$(docker run -d --name "$N" --health-cmd 'echo x >>/n; head -c 4000 /dev/zero | tr "\0" y' --health-interval 5ms busybox sleep 1000)
    pid=$(docker inspect -f '{{.State.Pid}}' "$N")
    docker exec -d "$N" sh -c 'until [ -e /go ]; do usleep 20000; done; exit 6'
    exec=$(docker inspect -f '{{index .ExecIDs 0}}' "$N")
    kill -STOP "$(engine_pid)"
    # each result takes 4 KB and more, the socket a few hundred
    poll eval "[ \$(wc -l <'/proc/$pid/root/n') -ge 100 ]"
    touch "/proc/$pid/root/go"
    poll eval "[ \$(wc -l <'/proc/$pid/root/n') -ge 110 ]"
    kill -CONT "$(engine_pid)"
    poll grep -q "had more to tell.*container=$id" "$ENGINE_LOG"
    same "$pid running" "$(docker inspect -f '{{.State.Pid}} {{.State.Status}}' "$N")"
    same yes "$(docker exec "$N" echo yes)"
    exec_over() { request GET "/v1.45/exec/$exec/json" && grep -q '"Running":false' <<<"$BODY"; }
    poll exec_over
    exec_over
    contains "$BODY" '"ExitCode":6'
    poll eval "[ \$(docker inspect -f '{{.State.Health.Status}}' $N) = healthy ]"
    docker rm -f "$N"
}
