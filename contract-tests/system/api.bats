#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What only shows over several requests: events in order, headers, the trace.
load helpers

setup_file() {
    need_image busybox
}

@test "events of one life come in order, with their attributes" {
    local since
    since=$(date +%s)
    docker run --name "$N" --label tested=yes busybox true
    docker rm "$N"
    run -0 docker events --since "$since" --until "$(($(date +%s) + 1))" --filter "container=$N" --format '{{.Action}}'
    same 'create attach start die destroy' "$(tr '\n' ' ' <<<"$output" | sed 's/ $//')"
    run -0 docker events --since "$since" --until "$(($(date +%s) + 1))" --filter "container=$N" --filter event=die --format '{{json .Actor.Attributes}}'
    contains "$output" '"exitCode":"0"'
    contains "$output" '"image":"busybox"'
    contains "$output" "\"name\":\"$N\""
    contains "$output" '"tested":"yes"'
}

@test "a network's events stand where the reference has them: connect before start, disconnect before die" {
    local since id
    since=$(date +%s)
    id=$(docker run -d --name "$N" busybox true)
    docker wait "$N"
    run -0 docker events --since "$since" --until "$(($(date +%s) + 1))" --format '{{.Type}} {{.Action}} {{.Actor.ID}} {{index .Actor.Attributes "container"}}'
    same 'container create,network connect,container start,network disconnect,container die' \
        "$(grep -F "$id" <<<"$output" | awk '{print $1, $2}' | paste -sd,)"
}

@test "events that are waited for arrive at once" {
    timeout 300 "$CLI" -H "$ENGINE_HOST" events --filter "container=$N" --format '{{.Action}}' >"$BATS_TEST_TMPDIR/events" &
    # The stream is open when an event arrives; until then make some.
    poll eval "docker create --name $N busybox true >/dev/null 2>&1; docker rm $N >/dev/null 2>&1; grep -q create $BATS_TEST_TMPDIR/events"
    docker create --name "$N" busybox true
    docker rename "$N" "$N-renamed"
    docker rm "$N-renamed"
    poll eval "tail -n 3 $BATS_TEST_TMPDIR/events | paste -sd' ' | grep -q 'create rename destroy'"
}

# A client whose process began before the event and listened after it; gone when a busy machine took longer than the engine looks back.
hears_what_was() {
    local pid heard=1
    docker volume rm "$N" >/dev/null 2>&1
    sh -c '"$0" -H "$1" volume create "$2" >/dev/null; exec "$0" -H "$1" events --filter volume="$2"' "$CLI" "$ENGINE_HOST" "$N" >"$BATS_TEST_TMPDIR/was" 3>&- &
    pid=$!
    for ((i = 0; i < 30 && heard; i++)); do
        sleep 0.1
        ! grep -q ' create ' "$BATS_TEST_TMPDIR/was" || heard=0
    done
    kill "$pid"
    wait "$pid" 2>/dev/null
    return $heard
}

@test "docker events tells also what came between its start and its request" {
    poll hears_what_was
    docker volume rm "$N"
}

@test "other clients are told of events from their request on" {
    local pid file=$BATS_TEST_TMPDIR/heard
    sh -c '"$0" -H "$1" volume create "$2" >/dev/null; exec curl -sNm 60 -A Docker-Client/26.1.5 --unix-socket "${1#unix://}" http://d/v1.45/events' \
        "$CLI" "$ENGINE_HOST" "$N" >"$file" 3>&- &
    pid=$!
    # It listens once it hears of a volume that came later.
    poll eval "docker volume create $N-later >/dev/null; docker volume rm $N-later >/dev/null; grep -q $N-later $file"
    kill "$pid"
    wait "$pid" 2>/dev/null || true
    docker volume rm "$N"
    ! grep "\"$N\"" "$file" || fail "it was told of what came before its request"
}

@test "events: ten containers, no event lost or twice" {
    local since
    since=$(date +%s)
    seq 10 | xargs -P 4 -I{} "$CLI" -H "$ENGINE_HOST" run --rm --name "$N-{}" busybox true
    count() { docker events --since "$since" --until "$(($(date +%s) + 1))" --filter type=container --format '{{.Action}} {{index .Actor.Attributes "name"}}' | grep " $N-" | sort | uniq -c | awk '{print $1, $2}' | sort | uniq -c | awk '{print $1, $2, $3}' | paste -sd,; }
    poll eval '[[ $(count) == *"10 1 destroy"* ]]'
    same '10 1 attach,10 1 create,10 1 destroy,10 1 die,10 1 start' "$(count)"
}

@test "each answer says engine, version and platform" {
    request GET /_ping
    same 200 "$STATUS"
    same OK "$BODY"
    contains "$HEAD" 'Api-Version: 1.45'
    contains "$HEAD" 'Ostype: linux'
    contains "$HEAD" 'Docker-Experimental: false'
    contains "$HEAD" 'Server: '
    request HEAD /_ping
    same 200 "$STATUS"
    contains "$HEAD" 'Api-Version: 1.45'
}

@test "each answer carries a trace id of its own" {
    local first
    only_ours "its answers have no trace id"
    request GET /v1.45/containers/no-such-thing/json
    same 404 "$STATUS"
    first=$(sed -n 's/^X-Hatake-Trace: //Ip' <<<"$HEAD")
    [[ $first =~ ^[0-9a-f]{16}$ ]] || fail "no trace id in: $HEAD"
    request GET /v1.45/version
    [ "$(sed -n 's/^X-Hatake-Trace: //Ip' <<<"$HEAD")" != "$first" ]
}

@test "bad input leaves nothing: malformed body, wrong type, missing image, bad name" {
    request POST "/v1.45/containers/create?name=$N" '{"Image": "busybox"'
    same 400 "$STATUS"
    same '{"message":"invalid JSON: unexpected EOF"}' "$BODY"
    request POST "/v1.45/containers/create?name=$N" '{"Image": 5}'
    same 400 "$STATUS"
    same '{"message":"invalid JSON: json: cannot unmarshal number into Go struct field Config.Image of type string"}' "$BODY" || contains "$BODY" 'cannot unmarshal number into Go struct field'
    request POST "/v1.45/containers/create?name=$N" '{"Image": "no-such-image-here:x"}'
    same 404 "$STATUS"
    same '{"message":"No such image: no-such-image-here:x"}' "$BODY"
    request POST "/v1.45/containers/create?name=@$N" '{"Image": "busybox"}'
    same 400 "$STATUS"
    same '' "$(docker ps -aq --filter "name=$N")"
}

@test "a second prune beside the first is refused" {
    # Stopped containers give a prune something to do; how long it takes nobody knows: until two meet.
    twice() {
        seq 12 | xargs -P 4 -I{} curl -gsS --max-time 60 --unix-socket "${ENGINE_HOST#unix://}" -o /dev/null -X POST -H 'Content-Type: application/json' \
            --data-binary '{"Image": "busybox", "Labels": {"pruned": "'"$N"'"}}' "http://engine/v1.45/containers/create"
        seq 4 | xargs -P 4 -I{} curl -gsS --max-time 60 --unix-socket "${ENGINE_HOST#unix://}" -w '%{http_code}\n' -X POST \
            "http://engine/v1.45/containers/prune?filters={\"label\":[\"pruned=$N\"]}" >"$BATS_TEST_TMPDIR/prunes"
        grep -q '409$' "$BATS_TEST_TMPDIR/prunes"
    }
    poll twice
    contains "$(cat "$BATS_TEST_TMPDIR/prunes")" '{"message":"a prune operation is already running"}'
    docker container prune -f --filter "label=pruned=$N"
}

@test "no containerd socket stands beside ours" {
    only_ours "it has one"
    run ! ci_lab_find
}
ci_lab_find() { "$CI/lab" sh engine find /run -name 'containerd*.sock*' | grep .; }

@test "many exposed ports are no burden" {
    local ports
    ports=$(seq -s ',' -f '"%.0f/tcp": {}' 1 20000)
    echo "{\"Image\": \"busybox\", \"ExposedPorts\": {$ports}}" >"$BATS_TEST_TMPDIR/many"
    STATUS=$(curl -gsS --max-time 60 --unix-socket "${ENGINE_HOST#unix://}" -o /dev/null -w '%{http_code}' -X POST -H 'Content-Type: application/json' \
        --data-binary @"$BATS_TEST_TMPDIR/many" "http://engine/v1.45/containers/create?name=$N")
    same 201 "$STATUS"
    request POST "/v1.45/containers/$N/start"
    same 204 "$STATUS"
    request GET "/v1.45/containers/$N/json"
    same 200 "$STATUS"
    contains "$BODY" '"20000/tcp"'
    request GET '/v1.45/containers/json?all=1'
    same 200 "$STATUS"
}

@test "HTTP/1.0 is answered in HTTP/1.0, and the connection ends" {
    local head
    for path in /_ping /v1.45/images/no-such/json '/v1.45/events?since=1&until=2'; do
        head=$(curl -0 -gsS --max-time 60 --unix-socket "${ENGINE_HOST#unix://}" -D - -o /dev/null "http://engine$path" | tr -d '\r')
        contains "$head" 'HTTP/1.0 '
        case $head in *[Cc]hunked*) fail "chunks are not known to HTTP/1.0: $head" ;; esac
    done
    [ "$SUBJECT" = reference ] || contains "$head" 'Connection: close'
    head=$(curl -0 -gsS --max-time 60 --unix-socket "${ENGINE_HOST#unix://}" -H 'Connection: keep-alive' -D - -o /dev/null http://engine/_ping | tr -d '\r' | tr '[:upper:]' '[:lower:]')
    contains "$head" 'connection: keep-alive'
}

@test "wait: the head comes at once in every version of the API, the body with the end" {
    local version
    for version in 1.24 1.29 1.45; do
        [ "$SUBJECT$version" != reference1.24 ] && [ "$SUBJECT$version" != reference1.29 ] || continue
        docker run -d --name "$N-$version" busybox sleep 1000
        curl -gsS -N --max-time 300 --unix-socket "${ENGINE_HOST#unix://}" -X POST -D "$BATS_TEST_TMPDIR/head" -o "$BATS_TEST_TMPDIR/body" \
            "http://engine/v$version/containers/$N-$version/wait" 3>&- &
        poll grep -q 200 "$BATS_TEST_TMPDIR/head"
        [ ! -s "$BATS_TEST_TMPDIR/body" ] || fail "an answer before the end: $(cat "$BATS_TEST_TMPDIR/body")"
        is_state "$N-$version" running
        docker kill "$N-$version"
        wait $!
        contains "$(cat "$BATS_TEST_TMPDIR/body")" '"StatusCode":137'
        rm "$BATS_TEST_TMPDIR/head" "$BATS_TEST_TMPDIR/body"
    done
}

@test "HEAD of an archive has the stat and no body" {
    docker create --name "$N" busybox
    request HEAD "/v1.45/containers/$N/archive?path=/etc/passwd"
    same 200 "$STATUS"
    contains "$HEAD" 'X-Docker-Container-Path-Stat: '
    [ "$SUBJECT" = reference ] || contains "$HEAD" 'Content-Length: 0'
}
