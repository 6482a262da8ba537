#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Images and archives that must be refused (odd-images has the table): a clear error, no image, nothing touched outside, the space given back. In a lab of its own.
load helpers

setup_file() {
    only_ours_file "it hangs, or fills the disk, on some of these" || return 0
    own_lab engine
}
setup() {
    begin_test
    CANARY=$ENGINE_SHARE/canary
    mkdir -p "$CANARY"
    echo alive >"$CANARY/file"
}
teardown() { end_jobs; }

# What must stay as it is: the machine's files that the archives point at, and who may what.
outside() {
    (
        cd / && stat -c '%n %i %a %u:%g %s %Y' etc/passwd etc/canary etc/z tmp/z "$CANARY" "$CANARY/file" 2>&1
        inside ls -la /etc /srv /srv/lab
    ) || true
}
used() { du -s --apparent-size -k "$ENGINE_ROOT/overlay2" "$ENGINE_ROOT/content" "$ENGINE_ROOT/tmp" 2>/dev/null | awk '{ n += $1 } END { print n + 0 }'; }
space_is_back() { [ "$(used)" -le $(($1 + 64)) ]; }
nothing_came() { # USED OUTSIDE WHAT
    same '' "$(docker images -aq)" "$3"
    same "$2" "$(outside)" "$3"
    poll space_is_back "$1" || fail "$3 left something: $(find "$ENGINE_ROOT/overlay2" "$ENGINE_ROOT/content" "$ENGINE_ROOT/tmp" | head)"
}

# What the daemon may take of memory for the worst of these, beyond what it has before; a peak of an earlier test is forgotten.
MEMORY_KB=$((64 << 10))
memory() { awk -v k="$1:" '$1 == k { print $2 }' "/proc/$(engine_pid)/status"; }
forget_peak() { echo 5 >"/proc/$(engine_pid)/clear_refs"; }
stayed_small() { # KB WHAT
    [ $(($(memory VmHWM) - $1)) -le "$MEMORY_KB" ] || fail "$2 took $(($(memory VmHWM) - $1)) KB of memory"
}

# serve KIND: a registry with these images of odd-images; sets NAMES and PORT
serve() {
    local state=$BATS_TEST_TMPDIR/state names
    mkdir "$state"
    "$BATS_TEST_DIRNAME/odd-images" "$1" "$BATS_TEST_TMPDIR/images"
    mapfile -t names <"$BATS_TEST_TMPDIR/images/names"
    ip netns exec "$SUBJECT_NETNS" "$BATS_TEST_DIRNAME/test-registry" "$state" 127.0.0.1 "${names[@]}" >&2 3>&- &
    poll test -e "$state/ready"
    NAMES=("${names[@]%%=*}")
    PORT=$(cat "$state/ready")
}

@test "what registries should not send" {
    local name pattern before away rss
    serve hostile
    before=$(used) away=$(outside)
    while IFS=$'\t' read -r name pattern; do
        forget_peak
        rss=$(memory VmRSS)
        request POST "/v1.45/images/create?fromImage=127.0.0.1:$PORT/$name&tag=latest"
        [[ $(tail -n 1 <<<"$BODY") =~ (errorDetail|message).*($pattern) ]] || fail "$name: $(tail -n 2 <<<"$BODY" | cut -c1-500)"
        nothing_came "$before" "$away" "$name"
        stayed_small "$rss" "$name"
    done <"$BATS_TEST_TMPDIR/images/expect"
    request GET /_ping
    same 200 "$STATUS"
}

@test "what registries should not say: long tokens and challenges, redirects in a circle" {
    local state=$BATS_TEST_TMPDIR/state before away words
    serve harmless
    before=$(used) away=$(outside)
    while IFS=$'\t' read -r words rule; do
        echo "${rule//HERE/http://127.0.0.1:$PORT}" >"$state/rules"
        request POST "/v1.45/images/create?fromImage=127.0.0.1:$PORT/absolute&tag=latest"
        [[ $(tail -n 1 <<<"$BODY") =~ (errorDetail|message).*$words ]] || fail "$rule: $(tail -n 2 <<<"$BODY" | cut -c1-500)"
        nothing_came "$before" "$away" "$rule"
    done <<'END'
/token.* answered with more than 65536 bytes where that is not allowed	{"token": 100, "long token": 65536}
unauthorized: as told	{"token": 100, "long challenge": 9000}
stopped after 5 redirects	{"elsewhere": "HERE"}
END
    # As long as they may be.
    echo '{"token": 100, "long token": 7000, "long challenge": 3000}' >"$state/rules"
    request POST "/v1.45/images/create?fromImage=127.0.0.1:$PORT/absolute&tag=latest"
    contains "$BODY" 'Downloaded newer image'
    docker rmi "127.0.0.1:$PORT/absolute" >/dev/null
    nothing_came "$before" "$away" 'what is long enough'
}

@test "what looks for a way out ends inside, by pull and run, cp and save" {
    local name id away before
    serve harmless
    before=$(used) away=$(outside)
    for name in "${NAMES[@]}"; do
        request POST "/v1.45/images/create?fromImage=127.0.0.1:$PORT/$name&tag=latest"
        same 200 "$STATUS" "$name"
        same "$away" "$(outside)" "$name: pull"
        # Refused or not, clearly. What came must bear what is done with images.
        if [[ $BODY != *'Downloaded newer image'* ]]; then
            [[ $BODY == *errorDetail* ]] || fail "$name: $BODY"
            nothing_came "$before" "$away" "$name"
            continue
        fi
        docker save "127.0.0.1:$PORT/$name" | tar -tf - >/dev/null
        id=$(docker create --network none "127.0.0.1:$PORT/$name" x)
        docker export "$id" | tar -tf - >"$BATS_TEST_TMPDIR/inside"
        ! docker start "$id" 2>/dev/null || fail "$name: there is nothing to run in it"
        docker cp "$BATS_TEST_TMPDIR/inside" "$id:/l/canary" >/dev/null 2>&1 || true
        docker cp "$id:/l/canary" - >/dev/null 2>&1 || true
        same "$away" "$(outside)" "$name: use"
        docker rm "$id" >/dev/null
        docker rmi "127.0.0.1:$PORT/$name" >/dev/null
        nothing_came "$before" "$away" "$name"
    done
}

@test "twenty pulls and loads at once of images that share layers, some broken, some left: the others are whole, and nothing stays" {
    local before away i of=$BATS_TEST_TMPDIR jobs=() leavers=()
    serve shared
    # Not a function: in the background that would be a shell of its own, which is not what shall be killed. Nor before it is curl indeed.
    local ask=(curl -sSN --max-time 600 --unix-socket "${ENGINE_HOST#unix://}" -X POST)
    echo '{"fail": [["/blobs/", 503, 4, {}]]}' >"$of/state/rules"
    before=$(used) away=$(outside)
    "$CI/leaks" snapshot "$of/census" --lab engine
    for i in 0 1 2 3 4 5 6 7 8 9; do
        "${ask[@]}" "http://x/v1.45/images/create?fromImage=127.0.0.1:$PORT/shared$i&tag=latest" >"$of/pull$i" 2>&1 3>&- &
        jobs+=($!)
        "${ask[@]}" http://x/v1.45/images/load -H 'Content-Type: application/x-tar' -T "$of/images/shared$i.tar" >"$of/load$i" 2>&1 3>&- &
        jobs+=($!)
        if [ $((i % 3)) = 0 ]; then # and somebody who wants the same for a moment
            "${ask[@]}" "http://x/v1.45/images/create?fromImage=127.0.0.1:$PORT/shared$i&tag=latest" >"$of/leaver$i" 2>&1 3>&- &
            leavers+=("$! $of/leaver$i")
        fi
    done
    for i in "${leavers[@]}"; do
        poll test -s "${i#* }"
        kill "${i% *}" 2>/dev/null || true
    done
    for i in "${jobs[@]}"; do job_ends 0 "$i"; done
    for i in 0 1 2 3 4 5 6 7; do
        contains "$(cat "$of/pull$i")" 'Status: '
        contains "$(cat "$of/load$i")" "Loaded image: loaded$i:latest"
        same "$(docker image inspect -f '{{.Id}}' "loaded$i")" "$(docker image inspect -f '{{.Id}}' "127.0.0.1:$PORT/shared$i")"
        docker save "loaded$i" | tar -tf - >/dev/null
    done
    for i in 8 9; do
        [[ $(cat "$of/pull$i") == *errorDetail* && $(cat "$of/load$i") == *errorDetail* ]] || fail "$(cat "$of/pull$i" "$of/load$i")"
    done
    docker image ls -q | sort -u | xargs "$CLI" -H "$ENGINE_HOST" rmi -f >/dev/null
    nothing_came "$before" "$away" 'all of them'
    "$CI/leaks" compare "$of/census" --settle 60 --ignore '^(thread|descriptor|socket): '
    own_end
    run -0 "$HATAKED" check --data-root "$ENGINE_ROOT"
    own_start
}

@test "what archives should not hold" {
    local verb file pattern before away rss
    "$BATS_TEST_DIRNAME/odd-images" archives "$BATS_TEST_TMPDIR/archives"
    before=$(used) away=$(outside)
    while IFS=$'\t' read -r verb file pattern; do
        forget_peak
        rss=$(memory VmRSS)
        case $verb in
        load) set -- load -qi "$BATS_TEST_TMPDIR/archives/$file" ;;
        *) set -- import "$BATS_TEST_TMPDIR/archives/$file" ;;
        esac
        run docker "$@"
        [ "$status" = 1 ] || fail "$file: exit $status, $output"
        [[ $output =~ ($pattern) ]] || fail "$file: $output"
        nothing_came "$before" "$away" "$file"
        stayed_small "$rss" "$file"
    done <"$BATS_TEST_TMPDIR/archives/expect"
    request GET /_ping
    same 200 "$STATUS"
}

@test "what clients should not send: a body of five million values" {
    local rss
    forget_peak
    rss=$(memory VmRSS)
    { printf '{"Image":"x","Labels":['; head -c 15000000 /dev/zero | sed 's/\x00\x00\x00/[],/g'; printf '0]}'; } >"$BATS_TEST_TMPDIR/body"
    request POST /v1.45/containers/create "@$BATS_TEST_TMPDIR/body"
    same '400 {"message":"invalid JSON: json: more than 200000 values"}' "$STATUS $BODY"
    stayed_small "$rss" 'five million values'
}
