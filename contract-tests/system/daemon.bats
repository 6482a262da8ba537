#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The daemon itself: flags, files, sockets. Engines of these tests run in a lab of their own.
load helpers

setup_file() {
    only_ours_file "starts this engine's daemon" || return 0
    own_lab engine
}
setup() {
    begin_test
    D=/srv/lab/$N # as the engine sees it
    H=$ENGINE_SHARE/$N
    mkdir -p "$H"
    SECOND=
}
teardown() {
    [ -n "${N-}" ] || return 0
    if [ -n "$SECOND" ]; then
        kill -TERM "$SECOND" 2>/dev/null || true
        poll test ! -d "/proc/$SECOND" || kill -KILL "$SECOND"
    fi
    rm -rf "${H:?}"
}

# second HOST FLAG...: another engine beside the first; $SECOND is its pid. WRAP may hold a command before it.
second() {
    local host=$1
    shift
    # shellcheck disable=SC2086
    inside ${WRAP-} "$HATAKED" --data-root "$D/data" --exec-root "$D/exec" --pidfile "$D/pid" --bridge none --iptables=false "$@" >"$H/log" 2>&1 3>&- &
    # One file may be left of a process that is no more.
    poll eval "test -d /proc/\$(cat $H/pid 2>/dev/null || echo none)" || { cat "$H/log" >&2; return 1; }
    SECOND=$(cat "$H/pid")
    [ -z "$host" ] || poll inside curl -gsSf --max-time 60 $host || { cat "$H/log" >&2; return 1; }
}

# refuses MESSAGE FLAG...: exit 1 and that text
refuses() {
    local want=$1
    shift
    run -1 timeout 120 "$CI/lab" sh engine "$HATAKED" --data-root "$D/data" --exec-root "$D/exec" --pidfile "$D/pid" --bridge none --iptables=false -H "unix://$D/s" "$@"
    contains "$output" "$want"
    test ! -e "$H/pid"
}

@test "unknown flag: exit 1, the flag is named" {
    run -1 "$HATAKED" --nope
    contains "$output" 'unknown flag: --nope'
    run -1 "$HATAKED" -q
    contains "$output" "unknown shorthand flag: 'q' in -q"
    contains "$output" "See 'hataked --help'., Code: 125"
}

@test "bad values: exit 1 and the reference's words" {
    run -1 "$HATAKED" --mtu abc
    contains "$output" 'invalid argument "abc" for "--mtu" flag: strconv.ParseInt: parsing "abc": invalid syntax'
    run -1 "$HATAKED" --live-restore=maybe
    contains "$output" 'invalid argument "maybe" for "--live-restore" flag: strconv.ParseBool: parsing "maybe": invalid syntax'
    run -1 "$HATAKED" -H nonsense://x
    contains "$output" 'invalid argument "nonsense://x" for "-H, --host" flag: invalid bind address (nonsense://x): unsupported proto '"'nonsense'"
    run -1 "$HATAKED" --data-root
    contains "$output" 'flag needs an argument: --data-root'
    run -1 "$HATAKED" extra
    contains "$output" 'accepts no argument'
}

@test "--log-level, --max-concurrent-downloads out of range are refused" {
    refuses 'invalid logging level: loud' --log-level loud
    refuses 'invalid max concurrent downloads: -1' --max-concurrent-downloads=-1
}

@test "--version and --validate exit 0 and start nothing" {
    run -0 "$HATAKED" --version
    contains "$output" "$(cat "$TOP/engine/VERSION")"
    echo '{"debug": true}' >"$H/daemon.json"
    run -0 "$HATAKED" --validate --config-file "$H/daemon.json"
    contains "$output" 'configuration OK'
}

@test "daemon.json: a damaged file, an unknown key and a conflict with a flag are refused" {
    echo '{"debug": tru' >"$H/daemon.json"
    run -1 "$HATAKED" --validate --config-file "$H/daemon.json"
    contains "$output" 'unable to configure the Docker daemon with file'
    echo '{"no-such-key": 1}' >"$H/daemon.json"
    run -1 "$HATAKED" --validate --config-file "$H/daemon.json"
    contains "$output" "the following directives don't match any configuration option: no-such-key"
    echo '{"mtu": 1400}' >"$H/daemon.json"
    run -1 "$HATAKED" --validate --mtu 1300 --config-file "$H/daemon.json"
    contains "$output" 'the following directives are specified both as a flag and in the configuration file: mtu: (from flag: 1300, from file: 1400)'
    run -1 "$HATAKED" --validate --config-file "$H/nowhere.json"
    contains "$output" 'no such file or directory'
}

@test "the pid file holds the pid, is removed at the end, and keeps a second engine away" {
    second "--unix-socket $D/s http://engine/_ping" -H "unix://$D/s"
    same "$SECOND" "$(cat "$H/pid")"
    same hataked "$(cat "/proc/$SECOND/comm")"
    run -1 timeout 120 "$CI/lab" sh engine "$HATAKED" --data-root "$D/data2" --exec-root "$D/exec2" --pidfile "$D/pid" --bridge none --iptables=false -H "unix://$D/s2"
    contains "$output" "process with PID $SECOND is still running"
    kill -TERM "$SECOND"
    poll test ! -d "/proc/$SECOND"
    test ! -e "$H/pid"
    test ! -e "$H/s"
    SECOND=
}

@test "a pid file of a dead process does not matter" {
    echo 4194000 >"$H/pid"
    run second "--unix-socket $D/s http://engine/_ping" -H "unix://$D/s"
    SECOND=$(cat "$H/pid")
    poll inside curl -gsSf --unix-socket "$D/s" http://engine/_ping
    [ "$SECOND" != 4194000 ]
}

@test "a second engine on the same data root is refused" {
    second "--unix-socket $D/s http://engine/_ping" -H "unix://$D/s"
    run -1 timeout 120 "$CI/lab" sh engine "$HATAKED" --data-root "$D/data" --exec-root "$D/exec2" --pidfile "$D/pid2" --bridge none --iptables=false -H "unix://$D/s2"
    contains "$output" "$D/data"
    inside curl -gsSf --unix-socket "$D/s" http://engine/_ping
}

@test "a socket that is in use by a live engine is refused; one left over is replaced" {
    second "--unix-socket $D/s http://engine/_ping" -H "unix://$D/s"
    run -1 timeout 120 "$CI/lab" sh engine "$HATAKED" --data-root "$D/data2" --exec-root "$D/exec2" --pidfile "$D/pid2" --bridge none --iptables=false -H "unix://$D/s"
    contains "$output" "can't create unix socket $D/s: another process is listening there"
    inside curl -gsSf --unix-socket "$D/s" http://engine/_ping
    kill -KILL "$SECOND"
    poll test ! -d "/proc/$SECOND"
    test -S "$H/s"
    second "--unix-socket $D/s http://engine/_ping" -H "unix://$D/s"
}

@test "unix socket: mode 0660, group by --group" {
    second "--unix-socket $D/s http://engine/_ping" -H "unix://$D/s" --group daemon
    same '660 root daemon' "$(stat -c '%a %U %G' "$H/s")"
}

@test "several -H: all of them answer" {
    second "--unix-socket $D/s http://engine/_ping" -H "unix://$D/s" -H "unix://$D/t" -H tcp://127.0.0.1:24750
    same OK "$(inside curl -gsS --unix-socket "$D/t" http://engine/_ping)"
    same OK "$(inside curl -gsS http://127.0.0.1:24750/_ping)"
}

@test "--exec-opt native.cgroupdriver=systemd: taken, and info says who makes control groups" {
    second "--unix-socket $D/s http://h/_ping" -H "unix://$D/s" --exec-opt native.cgroupdriver=systemd
    contains "$(inside curl -gsSf --unix-socket "$D/s" http://h/info)" '"CgroupDriver":"cgroupfs"'
}

@test "fd://: a socket passed by the service manager" {
    # shellcheck disable=SC2030
    WRAP="/usr/bin/python3 $BATS_TEST_DIRNAME/activate $D/s"
    second "--unix-socket $D/s http://engine/_ping" -H fd://
    # The socket is the manager's: it stays.
    kill -TERM "$SECOND"
    poll test ! -d "/proc/$SECOND"
    test -S "$H/s"
    SECOND=
    # shellcheck disable=SC2031
    WRAP=
    refuses 'no sockets found via socket activation' -H fd://
}

certificates() {
    local ca="-CA $H/ca.pem -CAkey $H/ca.key -CAcreateserial -days 30"
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=ca -keyout "$H/ca.key" -out "$H/ca.pem"
    openssl req -newkey rsa:2048 -nodes -subj /CN=engine -keyout "$H/server.key" -out "$H/server.csr"
    # shellcheck disable=SC2086
    openssl x509 -req -in "$H/server.csr" $ca -extfile <(printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n') -out "$H/server.pem"
    openssl req -newkey rsa:2048 -nodes -subj /CN=client -keyout "$H/key.pem" -out "$H/client.csr"
    # shellcheck disable=SC2086
    openssl x509 -req -in "$H/client.csr" $ca -extfile <(echo extendedKeyUsage=clientAuth) -out "$H/cert.pem"
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=stranger -keyout "$H/other.key" -out "$H/other.pem"
}

@test "--tlsverify: only clients with a certificate of the authority are served" {
    certificates 2>/dev/null
    second '' -H tcp://127.0.0.1:24760 --tlsverify --tlscacert "$D/ca.pem" --tlscert "$D/server.pem" --tlskey "$D/server.key"
    poll inside curl -sSf --cacert "$D/ca.pem" --cert "$D/cert.pem" --key "$D/key.pem" https://127.0.0.1:24760/_ping
    run ! inside curl -sSf --max-time 5 --cacert "$D/ca.pem" https://127.0.0.1:24760/_ping
    run ! inside curl -sSf --max-time 5 --cacert "$D/ca.pem" --cert "$D/other.pem" --key "$D/other.key" https://127.0.0.1:24760/_ping
    run inside curl -sS --max-time 60 http://127.0.0.1:24760/_ping
    same 'Client sent an HTTP request to an HTTPS server.' "$output"
    run -0 inside "$CLI" -H tcp://127.0.0.1:24760 --tlsverify --tlscacert "$D/ca.pem" --tlscert "$D/cert.pem" --tlskey "$D/key.pem" version -f '{{.Server.APIVersion}}'
    same 1.45 "$output"
}

@test "--tlsverify: the whole client works over it: run -it, streams, logs -f, exec, cp, wait, events" {
    local tls=(-H tcp://127.0.0.1:24763 --tlsverify --tlscacert "$D/ca.pem" --tlscert "$D/cert.pem" --tlskey "$D/key.pem")
    certificates 2>/dev/null
    second '' -H tcp://127.0.0.1:24763 -H "unix://$D/s" --tlsverify --tlscacert "$D/ca.pem" --tlscert "$D/server.pem" --tlskey "$D/server.key"
    over() { inside "$CLI" "${tls[@]}" "$@"; }
    # A file of a megabyte goes through the connection, in both directions.
    run -0 over load -qi "$IMAGES/busybox/docker.tar"
    run -7 "$PTY" --size 31x97 --expect '/ # ' --send 'stty size\r' --expect '31 97' --send 'exit 7\r' -- "$CI/lab" sh engine "$CLI" "${tls[@]}" \
        run --rm -it --network none --name "$N" busybox sh
    head -c 1000000 /dev/urandom | base64 >"$H/megabyte"
    over run --rm -i --network none busybox cat <"$H/megabyte" | cmp - "$H/megabyte"
    over run -d --network none --name "$N" busybox sh -c 'i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i + 1)); done; while [ ! -e /end ]; do sleep 0.1; done; echo last; exit 5'
    over logs -f "$N" >"$H/logged" &
    run -3 over exec -i "$N" sh -c 'cat >/copied; exit 3' <"$H/megabyte"
    over cp "$N:/copied" - | tar -xOf - | cmp - "$H/megabyte"
    echo end >"$H/end"
    over cp "$D/end" "$N:/end"
    same 5 "$(over wait "$N")"
    poll grep -q '^last$' "$H/logged"
    same '3001 3000' "$(wc -l <"$H/logged") $(grep -c '^[0-9]*$' "$H/logged")"
    run -0 over events --since 1 --until "$(($(date +%s) + 1))" --filter "container=$N" --format '{{.Action}}'
    contains "$output" 'die'
    over rm "$N"
}

@test "--tls alone: encrypted, no client certificate needed" {
    certificates 2>/dev/null
    second '' -H tcp://127.0.0.1:24761 --tls --tlscert "$D/server.pem" --tlskey "$D/server.key"
    poll inside curl -sSf --cacert "$D/ca.pem" https://127.0.0.1:24761/_ping
}

@test "--tlsverify with files that are not there is refused" {
    refuses "invalid TLS configuration: Could not load X509 key pair (cert: \"$D/none.pem\", key: \"$D/none.key\")" -H tcp://127.0.0.1:24762 --tlsverify --tlscacert "$D/none.pem" --tlscert "$D/none.pem" --tlskey "$D/none.key"
}

@test "SIGHUP reads daemon.json again: what may change does, a bad file changes nothing, an event tells" {
    local now
    info() { inside curl -gsSf --unix-socket "$D/s" http://engine/v1.45/info; }
    echo '{"debug": false, "labels": ["a=b"]}' >"$H/daemon.json"
    second "--unix-socket $D/s http://engine/_ping" -H "unix://$D/s" --config-file "$D/daemon.json"
    info | grep -q '"Labels":\["a=b"\]'
    echo '{"debug": true, "labels": ["c=d"], "max-concurrent-downloads": 7}' >"$H/daemon.json"
    kill -HUP "$SECOND"
    poll grep -q 'Reloaded configuration' "$H/log"
    info | grep -q '"Labels":\["c=d"\]'
    info | grep -q '"Debug":true'
    echo '{"labels": "x"}' >"$H/daemon.json"
    kill -HUP "$SECOND"
    poll grep -q 'the configuration was not reloaded' "$H/log"
    info | grep -q '"Labels":\["c=d"\]'
    now=$(date +%s)
    inside curl -gsSf -m 30 --unix-socket "$D/s" "http://engine/v1.45/events?since=1&until=$((now + 1))" >"$H/events"
    grep -q '"Type":"daemon","Action":"reload"' "$H/events"
    grep -q '"max-concurrent-downloads":"7"' "$H/events"
}

@test "--log-format json: each line of the log is one JSON object" {
    second "--unix-socket $D/s http://engine/_ping" -H "unix://$D/s" --log-format json
    /usr/bin/python3 -c 'import json,sys
lines=[json.loads(l) for l in open(sys.argv[1])]
assert lines and all("level" in l and "msg" in l and "time" in l for l in lines), lines' "$H/log"
}

@test "SIGINT ends it as SIGTERM does, with status 0" {
    second "--unix-socket $D/s http://engine/_ping" -H "unix://$D/s"
    local job
    job=$(jobs -p | head -n 1)
    kill -INT "$SECOND"
    job_ends 0 "$job"
    test ! -e "$H/pid"
    SECOND=
}

@test "the trace id of an answer is in the log of its request" {
    local id
    second "--unix-socket $D/s http://engine/_ping" -H "unix://$D/s" -D
    id=$(inside curl -gsSi --unix-socket "$D/s" http://engine/v1.45/containers/nothing/json | tr -d '\r' | sed -n 's/^X-Hatake-Trace: //Ip')
    poll grep -q "trace=$id .*path=/v1.45/containers/nothing/json .*status=404" "$H/log"
}
