#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Registries that redirect, fail, ask for tokens, are mirrors or behind proxies; pulls that share what they download. In a lab of its own.
load helpers

setup_file() {
    only_ours_file "starts this engine's daemon with many flags" || return 0
    own_lab registry engine
    # Certificates of registries are put where nobody else sees them.
    [ -d /etc/docker ] || touch "$BATS_FILE_TMPDIR/made-etc-docker"
    mkdir -p /etc/docker
    inside mount -t tmpfs tmpfs /etc/docker
}
teardown_file() {
    own_lab_down
    [ ! -e "$BATS_FILE_TMPDIR/made-etc-docker" ] || rmdir /etc/docker
}
setup() {
    begin_test
    if [ -e "$BATS_FILE_TMPDIR/flags" ]; then
        rm "$BATS_FILE_TMPDIR/flags"
        own_restart
    fi
}
# with_flags FLAG...: for this test alone
with_flags() {
    touch "$BATS_FILE_TMPDIR/flags"
    own_restart "$@"
}
teardown() {
    [ -n "${N-}" ] || return 0
    end_jobs
    docker images -q | xargs -r "$CLI" -H "$ENGINE_HOST" rmi -f >/dev/null 2>&1 || true
}

# serve STATE ADDRESS IMAGE [OPTION...]: sets AT (address and port) and NAME (what to pull), and STATE_OF to the server's folder
serve() {
    local address=$2 image=$3
    STATE_OF=$BATS_TEST_TMPDIR/$1
    mkdir -p "$STATE_OF"
    [ -e "$STATE_OF/rules" ] || echo '{}' >"$STATE_OF/rules"
    shift 3
    HOSTS=$TOP/build/${OWN_LAB#hatake-}/etc/hosts ip netns exec "$SUBJECT_NETNS" "$BATS_TEST_DIRNAME/test-registry" "$STATE_OF" "$address" "$image=$IMAGES/$image/oci" "library/$image=$IMAGES/$image/oci" "$@" >&2 3>&- &
    poll test -e "$STATE_OF/ready"
    AT=$address:$(cat "$STATE_OF/ready")
    NAME=$AT/$image:latest
}
rules() { echo "$1" >"$STATE_OF/rules.new" && mv "$STATE_OF/rules.new" "$STATE_OF/rules"; }
# asked STATE EXPRESSION: how many requests (r) were such
asked() {
    /usr/bin/python3 -c 'import json, sys
print(sum(1 for r in map(json.loads, open(sys.argv[1])) if eval(sys.argv[2])))' "$BATS_TEST_TMPDIR/$1/log" "$2"
}
auth() { printf '%s' "$1" | base64 -w0 | tr '+/' '-_'; }
# pull NAME [HEADER]: by the API; STATUS and BODY
pull() { request POST "/v1.45/images/create?fromImage=${1%:*}&tag=${1##*:}" '' ${2+"$2"}; }
pulled() { [[ $BODY == *'Downloaded newer image'* ]] || fail "$BODY"; }
# pull_later FILE NAME: in the background, what comes into FILE
pull_later() {
    curl -sSN --max-time 600 --unix-socket "${ENGINE_HOST#unix://}" -X POST "http://x/v1.45/images/create?fromImage=${2%:*}&tag=${2##*:}" >"$1" 2>&1 3>&- &
}
layers_of() { /usr/bin/python3 -c '
import json, sys
def read(path):
    with open(sys.argv[1] + path) as f:
        return json.load(f)
top = read("/index.json")["manifests"][0]["digest"]
print(len(read("/blobs/" + top.replace(":", "/"))["layers"]))' "$IMAGES/$1/oci"; }
# how many downloads were too slow for the places they held
put_aside() { grep -c 'too slow for the place' "$TOP/build/${OWN_LAB#hatake-}/engine/log" || true; }
LAYER='r["method"] == "GET" and "/blobs/" in r["path"]'

@test "a redirect to another place takes no credentials along" {
    local here there
    serve there 127.0.0.2 layers12
    there=$AT
    serve here 127.0.0.1 layers12
    here=$NAME
    rules "{\"basic\": \"me:secret\", \"elsewhere\": \"http://$there\"}"
    pull "$here" "X-Registry-Auth: $(auth '{"username": "me", "password": "secret"}')"
    pulled
    same "$(layers_of layers12)" "$(asked there "$LAYER")"
    same 0 "$(asked there 'r["authorization"]')"
    [ "$(asked here "$LAYER"' and r["authorization"]')" -gt 0 ]
    # The same place by another port is another place, too.
    serve port 127.0.0.1 layers12
    there=$AT
    STATE_OF=$BATS_TEST_TMPDIR/here rules "{\"basic\": \"me:secret\", \"elsewhere\": \"http://$there\"}"
    docker rmi "$here"
    pull "$here" "X-Registry-Auth: $(auth '{"username": "me", "password": "secret"}')"
    pulled
    same "$(layers_of layers12)" "$(asked port "$LAYER")"
    same 0 "$(asked port 'r["authorization"]')"
    STATE_OF=$BATS_TEST_TMPDIR/here rules "{\"basic\": \"me:secret\", \"elsewhere\": \"ftp://$there\"}"
    docker rmi "$here"
    pull "$here" "X-Registry-Auth: $(auth '{"username": "me", "password": "secret"}')"
    [[ $BODY == *'"error"'* ]] || fail "$BODY"
    same '' "$(docker images -q)"
}

@test "certs.d: the authority of a registry, and who we are to it" {
    local tls=$BATS_TEST_TMPDIR/tls
    mkdir "$tls"
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -keyout "$tls/ca.key" -out "$tls/ca.crt" 2>/dev/null
    openssl req -newkey rsa:2048 -nodes -subj /CN=server -keyout "$tls/server.key" -out "$tls/server.csr" 2>/dev/null
    openssl x509 -req -in "$tls/server.csr" -CA "$tls/ca.crt" -CAkey "$tls/ca.key" -CAcreateserial -days 2 \
        -extfile <(echo "subjectAltName=IP:$SUBJECT_ADDRESS") -out "$tls/server.crt" 2>/dev/null
    openssl req -newkey rsa:2048 -nodes -subj /CN=client -keyout "$tls/client.key" -out "$tls/client.csr" 2>/dev/null
    openssl x509 -req -in "$tls/client.csr" -CA "$tls/ca.crt" -CAkey "$tls/ca.key" -CAcreateserial -days 2 -out "$tls/client.cert" 2>/dev/null
    serve secure "$SUBJECT_ADDRESS" hello-world --tls "$tls/server.crt" "$tls/server.key" --clients "$tls/ca.crt"
    pull "$NAME"
    contains "$BODY" 'tls: failed to verify certificate: x509: certificate signed by unknown authority'
    inside mkdir -p "/etc/docker/certs.d/$AT"
    inside cp "$tls/ca.crt" "/etc/docker/certs.d/$AT/ca.crt"
    pull "$NAME"
    [[ $BODY != *'Downloaded newer'* ]] || fail "the registry asks for a certificate that was not given"
    inside cp "$tls/client.cert" "$tls/client.key" "/etc/docker/certs.d/$AT"
    pull "$NAME"
    pulled
}

@test "insecure registries: by name, never by themselves" {
    local tls=$BATS_TEST_TMPDIR/tls
    serve plain "$SUBJECT_ADDRESS" hello-world
    pull "$NAME"
    same 500 "$STATUS"
    contains "$BODY" 'http: server gave HTTP response to HTTPS client'
    with_flags --insecure-registry "$AT"
    pull "$NAME"
    pulled
    # A certificate that nobody vouches for.
    mkdir "$tls"
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=elsewhere -keyout "$tls/key" -out "$tls/crt" 2>/dev/null
    serve unknown "$SUBJECT_ADDRESS" hello-world --tls "$tls/crt" "$tls/key"
    pull "$NAME"
    same 500 "$STATUS"
    with_flags --insecure-registry "$SUBJECT_ADDRESS/32"
    pull "$NAME"
    pulled
}

@test "mirrors: in their order, then the registry itself; credentials are not for them" {
    local first second flags
    serve first 127.0.0.1 hello-world
    first=$AT
    serve second 127.0.0.2 busybox
    second=$AT
    flags=(--registry-mirror "http://127.0.0.3:1" --registry-mirror "http://$first" --registry-mirror "http://$second")
    with_flags "${flags[@]}"
    pull hello-world:latest "X-Registry-Auth: $(auth '{"username": "me", "password": "secret"}')"
    pulled
    same 0 "$(asked first 'r["authorization"]')"
    [ ! -e "$BATS_TEST_TMPDIR/second/log" ] || fail "the second was asked, though the first has it"
    # What the first does not have comes from the second...
    pull busybox:latest
    pulled
    [ "$(asked second "$LAYER")" -gt 0 ]
    # ...and what neither has, or can give, from the registry.
    pull zstd:latest
    pulled
    docker rmi hello-world busybox
    STATE_OF=$BATS_TEST_TMPDIR/first rules '{"fail": [["/blobs/", 500, 1000, {}]]}'
    pull hello-world:latest
    pulled
}

@test "proxies: all but what NO_PROXY names" {
    serve proxy 127.0.0.1 hello-world
    local proxy=$AT
    with_flags --http-proxy "http://$AT" --https-proxy "http://$AT" --no-proxy 127.0.0.9 --insecure-registry nowhere.test:5000
    pull nowhere.test:5000/hello-world:latest
    pulled
    [ "$(asked proxy 'r["proxied"] and r["path"].startswith("http://nowhere.test:5000/v2/hello-world/blobs/")')" -gt 0 ]
    # TLS through a tunnel.
    pull "$REGISTRY/busybox:latest"
    pulled
    [ "$(asked proxy "r['method'] == 'CONNECT' and r['path'] == '$REGISTRY'")" -gt 0 ]
    with_flags --https-proxy "http://$AT" --no-proxy "${REGISTRY%:*}"
    docker rmi "$REGISTRY/busybox"
    : >"$BATS_TEST_TMPDIR/proxy/log"
    pull "$REGISTRY/busybox:latest"
    pulled
    same 0 "$(asked proxy True)"
    # Without flags those of the environment, as info shows them; the machine itself is never behind a proxy.
    HTTP_PROXY=http://$proxy https_proxy=http://$proxy NO_PROXY=${REGISTRY%:*} with_flags --insecure-registry nowhere.test:5000
    same "http://$proxy http://$proxy ${REGISTRY%:*}" "$(docker info -f '{{.HTTPProxy}} {{.HTTPSProxy}} {{.NoProxy}}')"
    docker rmi nowhere.test:5000/hello-world "$REGISTRY/busybox"
    : >"$BATS_TEST_TMPDIR/proxy/log"
    pull "$REGISTRY/busybox:latest"
    pulled
    serve near 127.0.0.1 busybox
    docker rmi "$REGISTRY/busybox"
    pull "$NAME"
    pulled
    same 0 "$(asked proxy True)"
    pull nowhere.test:5000/hello-world:latest
    pulled
    [ "$(asked proxy 'r["proxied"]')" -gt 0 ]
}

@test "a registry that is busy is asked again, as late as it says, and not for ever" {
    serve busy 127.0.0.1 hello-world
    rules '{"fail": [["/blobs/", 503, 2, {}]]}'
    pull "$NAME"
    pulled
    docker rmi "$NAME"
    serve limited 127.0.0.1 semantics
    rules '{"fail": [["/blobs/", 429, 3, {"Retry-After": "1"}]]}'
    pull "$NAME"
    pulled
    # Three refusals, so three waits of a second at least, whatever runs beside them.
    /usr/bin/python3 - "$BATS_TEST_TMPDIR/limited/log" <<'END'
import json, sys
times = {}
for line in map(json.loads, open(sys.argv[1])):
    if "/blobs/" in line["path"]:
        times.setdefault(line["path"], []).append(line["at"])
gaps = [b - a for at in times.values() for a, b in zip(at, at[1:])]
assert len(gaps) == 3 and min(gaps) >= 1, gaps
END
    docker rmi "$NAME"
    # A date says the same. It has whole seconds, so it may be one earlier than meant.
    local start
    serve dated 127.0.0.1 hello-world
    start=$(/usr/bin/python3 -c 'import time; print(time.monotonic())')
    rules "{\"fail\": [[\"/blobs/\", 429, 1, {\"Retry-After\": \"$(LC_ALL=C date -u -d '8 seconds' '+%a, %d %b %Y %H:%M:%S GMT')\"}]]}"
    pull "$NAME"
    pulled
    /usr/bin/python3 - "$STATE_OF/log" "$start" <<'END'
import json, sys
times = {}
for line in map(json.loads, open(sys.argv[1])):
    if "/blobs/" in line["path"]:
        times.setdefault(line["path"], []).append(line["at"])
again = [at[1] for at in times.values() if len(at) > 1]
assert len(again) == 1 and again[0] >= float(sys.argv[2]) + 7, (times, sys.argv[2])
END
    docker rmi "$NAME"
    serve dead 127.0.0.1 busybox
    rules '{"fail": [["/blobs/", 503, 1000, {}]]}'
    pull "$NAME"
    contains "$BODY" '"error"'
    same '' "$(docker images -q)"
}

@test "a registry that stalls is given up, not waited for" {
    [ -n "${LONG-}" ] || skip "it is given a minute: LONG=1"
    with_flags --max-download-attempts 1
    serve stalling 127.0.0.1 busybox
    rules '{"link": "stall 0"}'
    pull_later "$BATS_TEST_TMPDIR/stalled" "$NAME"
    PATIENCE=300 poll grep -q '"error".*sent nothing for 60 seconds' "$BATS_TEST_TMPDIR/stalled"
    same '' "$(docker images -q)"
    rules '{}'
    pull "$NAME"
    pulled
}

@test "tokens: fetched with the credentials, again when they are used up, or by an identity token" {
    with_flags --max-concurrent-downloads 1
    serve token 127.0.0.1 semantics
    rules '{"token": 3, "needs": "me:secret"}'
    pull "$NAME"
    [[ $BODY != *'Downloaded newer'* ]] || fail "without credentials"
    pull "$NAME" "X-Registry-Auth: $(auth '{"username": "me", "password": "secret"}')"
    pulled
    [ "$(asked token 'r["path"].startswith("/token")')" -gt 2 ]
    same 0 "$(asked token 'not r["path"].startswith("/token") and "Basic" in (r["authorization"] or "")')"
    # For this repository, and to read it, is all that a token is asked for.
    same 0 "$(asked token 'r["path"].startswith("/token") and "scope=repository%3Asemantics%3Apull&" not in r["path"] + "&"')"
    same 0 "$(asked token 'r["path"].startswith("/token") and "offline_token" in r["path"]')"
    docker rmi "$NAME"
    serve given 127.0.0.1 semantics
    rules '{"bearer": "tok-given"}'
    pull "$NAME" "X-Registry-Auth: $(auth '{"registrytoken": "tok-given"}')"
    pulled
    same 0 "$(asked given 'r["path"].startswith("/token")')"
    docker rmi "$NAME"
    serve identity 127.0.0.1 semantics
    rules '{"token": 3, "needs": "nobody:knows", "identity": "tok-of-mine"}'
    pull "$NAME" "X-Registry-Auth: $(auth '{"identitytoken": "tok-of-mine"}')"
    pulled
    [ "$(asked identity 'r["method"] == "POST" and r["form"]["grant_type"] == ["refresh_token"] and r["form"]["refresh_token"] == ["tok-of-mine"]')" -gt 0 ]
}

@test "a token server that is neither the registry nor behind TLS gets no credentials" {
    local realm
    serve other 127.0.0.1 hello-world
    serve asking 127.0.0.1 hello-world
    # Another place, and one whose address begins like that of the registry.
    for realm in "http://$(sed "s/.*/127.0.0.1:&/" "$BATS_TEST_TMPDIR/other/ready")" "http://${AT}1"; do
        rules "{\"token\": 3, \"needs\": \"me:secret\", \"realm\": \"$realm\"}"
        pull "$NAME" "X-Registry-Auth: $(auth '{"username": "me", "password": "secret"}')"
        contains "$BODY" 'which is neither itself nor protected by TLS: they are not sent'
    done
    [ ! -e "$BATS_TEST_TMPDIR/other/log" ] || same 0 "$(asked other 'r["authorization"]')"
}

@test "login: an identity token from who gives one for good, which is then all that is stored" {
    serve token 127.0.0.1 hello-world
    rules '{"token": 5, "needs": "me:secret", "refresh": "tok-for-good", "identity": "tok-for-good"}'
    request POST /v1.45/auth "{\"username\": \"me\", \"password\": \"wrong\", \"serveraddress\": \"$AT\"}"
    same 401 "$STATUS"
    request POST /v1.45/auth "{\"username\": \"me\", \"password\": \"secret\", \"serveraddress\": \"$AT\"}"
    same 200 "$STATUS"
    same '{"IdentityToken":"tok-for-good","Status":"Login Succeeded"}' "$BODY"
    [ "$(asked token '"offline_token=true" in r["path"] and "client_id=docker" in r["path"]')" -gt 0 ]
    DOCKER_CONFIG=$BATS_TEST_TMPDIR docker login -u me --password-stdin "$AT" <<<secret
    DOCKER_CONFIG=$BATS_TEST_TMPDIR docker pull -q "$NAME"
    [ "$(asked token 'r["method"] == "POST" and r["form"]["refresh_token"] == ["tok-for-good"]')" -gt 0 ]
}

@test "no more downloads at a time than configured, in all pulls together" {
    with_flags --max-concurrent-downloads 2
    serve first 127.0.0.1 semantics
    touch "$STATE_OF/hold"
    local one=$NAME two aside
    aside=$(put_aside)
    serve second 127.0.0.1 busybox
    touch "$STATE_OF/hold"
    two=$NAME
    pull_later "$BATS_TEST_TMPDIR/one" "$one"
    poll grep -q 2 "$BATS_TEST_TMPDIR/first/most"
    pull_later "$BATS_TEST_TMPDIR/two" "$two"
    poll grep -q Waiting "$BATS_TEST_TMPDIR/two"
    rm "$STATE_OF/hold" "$BATS_TEST_TMPDIR/first/hold"
    poll grep -q 'Downloaded newer' "$BATS_TEST_TMPDIR/one"
    poll grep -q 'Downloaded newer' "$BATS_TEST_TMPDIR/two"
    # Where this took so long that one that stood still was put aside, another one ran beside it.
    [ "$(cat "$BATS_TEST_TMPDIR/first/most")" -le $((2 + $(put_aside) - aside)) ]
}

@test "registries that drip do not hold the places of others for good" {
    local name aside
    aside=$(put_aside)
    "$BATS_TEST_DIRNAME/odd-images" layouts "$BATS_TEST_TMPDIR/images"
    serve dripping 127.0.0.1 hello-world plain="$BATS_TEST_TMPDIR/images/plain" mixed="$BATS_TEST_TMPDIR/images/mixed" hollow="$BATS_TEST_TMPDIR/images/hollow" \
        twice="$BATS_TEST_TMPDIR/images/twice" attested="$BATS_TEST_TMPDIR/images/attested" nested="$BATS_TEST_TMPDIR/images/nested"
    rules '{"link": "drip"}'
    for name in plain mixed hollow twice attested nested; do
        pull_later "$BATS_TEST_TMPDIR/$name" "$AT/$name:latest"
    done
    poll eval "[ \$(cat '$STATE_OF/most') -ge 3 ]"
    serve honest 127.0.0.2 semantics
    pull "$NAME"
    pulled
    # All three places were held, so three at least had to leave them; nobody's download was given up for it.
    [ $(($(put_aside) - aside)) -ge 3 ] || fail "only $(($(put_aside) - aside)) were put aside"
    for name in plain mixed hollow twice attested nested; do
        ! grep -q error "$BATS_TEST_TMPDIR/$name" || fail "$name: $(cat "$BATS_TEST_TMPDIR/$name")"
    done
}

@test "sixteen downloads that drip go on beside the others; the next one and its pull are ended, and others are served" {
    local aside slow
    aside=$(put_aside)
    # More layers than may step aside and hold places: each pull still has some that wait, which is what the other's are put aside for.
    serve dripping 127.0.0.1 layers12 semantics="$IMAGES/semantics/oci"
    rules '{"link": "drip"}'
    for slow in layers12 semantics; do
        pull_later "$BATS_TEST_TMPDIR/$slow" "$AT/$slow:latest"
    done
    poll eval '[ $(($(put_aside) - aside)) -ge 16 ]'
    poll grep -q '"error":"the registry sent less than 3072 bytes in 3 seconds while other downloads waited"' "$BATS_TEST_TMPDIR/layers12" "$BATS_TEST_TMPDIR/semantics"
    serve honest 127.0.0.2 busybox
    pull "$NAME"
    pulled
}

@test "two who pull the same image share one download, and one of them may leave" {
    serve shared 127.0.0.1 semantics
    local name=$NAME leaver n
    n=$(layers_of semantics)
    touch "$STATE_OF/hold"
    pull_later "$BATS_TEST_TMPDIR/one" "$name"
    leaver=$!
    poll grep -q Waiting "$BATS_TEST_TMPDIR/one"
    pull_later "$BATS_TEST_TMPDIR/two" "$name"
    pull_later "$BATS_TEST_TMPDIR/three" "$name"
    poll grep -q 'Pulling fs layer' "$BATS_TEST_TMPDIR/two"
    poll grep -q 'Pulling fs layer' "$BATS_TEST_TMPDIR/three"
    kill "$leaver"
    rm "$STATE_OF/hold"
    poll grep -q 'Status: ' "$BATS_TEST_TMPDIR/two"
    poll grep -q 'Status: ' "$BATS_TEST_TMPDIR/three"
    # The configuration, a blob as well, is asked for by each of the three.
    [ "$(asked shared "$LAYER")" -le $((n + 3)) ] || fail "$(asked shared "$LAYER") requests for $n layers"
    docker save "$name" | tar -t >/dev/null
}
