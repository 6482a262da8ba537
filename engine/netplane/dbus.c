// SPDX-License-Identifier: Apache-2.0
#include "netplane/dbus.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"

#define SYSTEM_BUS "/run/dbus/system_bus_socket"
#define FIXED_HEAD 16 /* byte order, type, flags, version, length of the body, serial, length of the fields */
#define VERSION 1
#define NO_REPLY 1
#define NO_AUTO_START 2

enum field { PATH = 1, INTERFACE = 2, MEMBER = 3, ERROR_NAME = 4, REPLY_SERIAL = 5, DESTINATION = 6, SENDER = 7, SIGNATURE = 8 };

/* A message says in which byte order it is; ours is the machine's, as is that of everybody else on it. */
static const char byte_order = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 'l' : 'B';

/* ---- writing ----------------------------------------------------------------------------------------------------------------------- */

static void align(struct buf *b, size_t to) {
    while (buf_ok(b) && b->len % to)
        buf_addc(b, 0);
}

void dbus_put_u32(struct buf *b, uint32_t v) {
    align(b, sizeof(v));
    buf_add(b, &v, sizeof(v));
}

void dbus_put_bool(struct buf *b, bool v) {
    dbus_put_u32(b, v);
}

void dbus_put_string(struct buf *b, const char *s) {
    dbus_put_u32(b, (uint32_t)strlen(s));
    buf_add(b, s, strlen(s) + 1);
}

void dbus_put_strings(struct buf *b, const char *const *v, size_t n) {
    size_t at;
    uint32_t len;

    dbus_put_u32(b, 0);
    at = b->len;
    for (size_t i = 0; i < n; i++)
        dbus_put_string(b, v[i]);
    len = (uint32_t)(b->len - at);
    if (buf_ok(b))
        memcpy(b->data + at - sizeof(len), &len, sizeof(len));
}

void dbus_put_struct(struct buf *b) {
    align(b, 8);
}

void dbus_put_no_structs(struct buf *b) {
    dbus_put_u32(b, 0);
    dbus_put_struct(b);
}

static void put_field(struct buf *b, enum field code, char type, const char *s, uint32_t n) {
    if (!s && type != 'u')
        return;
    align(b, 8);
    buf_addc(b, (char)code);
    buf_add(b, (char[]){1, type, 0}, 3);
    if (type == 'u') {
        dbus_put_u32(b, n);
    } else if (type == 'g') {
        buf_addc(b, (char)strlen(s));
        buf_add(b, s, strlen(s) + 1);
    } else {
        dbus_put_string(b, s);
    }
}

static int write_all(int fd, const char *p, size_t n, struct err *e) {
    while (n) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);

        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return err_errno(e, errno, "write to the system bus");
        p += k;
        n -= (size_t)k;
    }
    return 0;
}

int dbus_send(struct dbus *d, const struct dbus_message *m, const struct buf *body, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(DBUS_MESSAGE_MAX);
    uint32_t len, no_answer = m->type == DBUS_CALL ? 0 : NO_REPLY;

    buf_add(&b, (char[]){byte_order, (char)m->type, (char)(NO_AUTO_START | no_answer), VERSION}, 4);
    dbus_put_u32(&b, body ? (uint32_t)body->len : 0);
    dbus_put_u32(&b, ++d->serial);
    dbus_put_u32(&b, 0);
    put_field(&b, PATH, 'o', m->path, 0);
    put_field(&b, INTERFACE, 's', m->interface, 0);
    put_field(&b, MEMBER, 's', m->member, 0);
    put_field(&b, ERROR_NAME, 's', m->error, 0);
    put_field(&b, DESTINATION, 's', m->destination, 0);
    put_field(&b, SENDER, 's', m->sender, 0); /* the bus puts the true one */
    put_field(&b, SIGNATURE, 'g', m->signature, 0);
    if (m->reply_to)
        put_field(&b, REPLY_SERIAL, 'u', NULL, m->reply_to);
    len = (uint32_t)(b.len - FIXED_HEAD);
    align(&b, 8);
    if (body)
        buf_add(&b, body->data, body->len);
    if (buf_check(&b, e) < 0 || (body && buf_check(body, e) < 0))
        return -ERR_INTERNAL;
    memcpy(b.data + FIXED_HEAD - sizeof(len), &len, sizeof(len));
    return write_all(d->fd, b.data, b.len, e);
}

/* ---- reading ----------------------------------------------------------------------------------------------------------------------- */

static bool get_u32(const char *p, size_t end, size_t *pos, uint32_t *ret) {
    size_t at = (*pos + 3) & ~(size_t)3;

    if (at > end || end - at < sizeof(*ret))
        return false;
    memcpy(ret, p + at, sizeof(*ret));
    *pos = at + sizeof(*ret);
    return true;
}

/* `len` bytes and the zero after them; none within. */
static bool get_text(const char *p, size_t end, size_t *pos, size_t len, const char **ret) {
    if (end - *pos <= len || strnlen(p + *pos, len + 1) != len)
        return false;
    *ret = p + *pos;
    *pos += len + 1;
    return true;
}

static bool get_string(const char *p, size_t end, size_t *pos, const char **ret) {
    uint32_t len;

    return get_u32(p, end, pos, &len) && get_text(p, end, pos, len, ret);
}

static bool get_signature(const char *p, size_t end, size_t *pos, const char **ret) {
    uint8_t len;

    if (*pos >= end)
        return false;
    len = (uint8_t)p[(*pos)++];
    return get_text(p, end, pos, len, ret);
}

bool dbus_get_u32(const struct dbus_message *m, size_t *pos, uint32_t *ret) {
    return get_u32(m->body, m->len, pos, ret);
}

bool dbus_get_string(const struct dbus_message *m, size_t *pos, const char **ret) {
    return get_string(m->body, m->len, pos, ret);
}

static const char **text_field(struct dbus_message *m, uint8_t code) {
    switch (code) {
    case PATH:
        return &m->path;
    case INTERFACE:
        return &m->interface;
    case MEMBER:
        return &m->member;
    case ERROR_NAME:
        return &m->error;
    case DESTINATION:
        return &m->destination;
    case SENDER:
        return &m->sender;
    case SIGNATURE:
        return &m->signature;
    default:
        return NULL;
    }
}

static bool read_fields(struct dbus_message *m, size_t pos, size_t end) {
    while (pos < end) {
        const char *type, *text, **slot;
        uint32_t number = 0;
        uint8_t code;
        bool ok;

        pos = (pos + 7) & ~(size_t)7;
        if (pos >= end)
            return false;
        code = (uint8_t)m->data[pos++];
        if (!get_signature(m->data, end, &pos, &type))
            return false;
        if (streq(type, "u"))
            ok = get_u32(m->data, end, &pos, &number);
        else if (streq(type, "g"))
            ok = get_signature(m->data, end, &pos, &text);
        else
            ok = (streq(type, "s") || streq(type, "o")) && get_string(m->data, end, &pos, &text);
        if (!ok)
            return false;
        slot = streq(type, "u") ? NULL : text_field(m, code);
        if (slot)
            *slot = text;
        else if (code == REPLY_SERIAL)
            m->reply_to = number;
    }
    return true;
}

static int read_all(int fd, char *p, size_t n, struct err *e) {
    while (n) {
        ssize_t k = recv(fd, p, n, 0);

        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return err_set(e, ERR_UNAVAILABLE, "no answer over the system bus");
        if (k < 0)
            return err_errno(e, errno, "read from the system bus");
        if (k == 0)
            return err_set(e, ERR_UNAVAILABLE, "the system bus ended the connection");
        p += k;
        n -= (size_t)k;
    }
    return 0;
}

int dbus_receive(struct dbus *d, struct dbus_message *ret, struct err *e) {
    char head[FIXED_HEAD];
    struct dbus_message m = {0};
    uint32_t body, fields;
    size_t start, size;
    int r = read_all(d->fd, head, sizeof(head), e);

    if (r < 0)
        return r;
    memcpy(&body, head + 4, sizeof(body));
    memcpy(&m.serial, head + 8, sizeof(m.serial));
    memcpy(&fields, head + 12, sizeof(fields));
    if (head[0] != byte_order || head[3] != VERSION || body > DBUS_MESSAGE_MAX || fields > DBUS_MESSAGE_MAX)
        return err_set(e, ERR_INTERNAL, "a message of the system bus cannot be read");
    start = (FIXED_HEAD + fields + 7) & ~(size_t)7;
    size = start + body;
    m.data = malloc(size + 1);
    if (!m.data)
        return err_oom(e);
    memcpy(m.data, head, sizeof(head));
    r = read_all(d->fd, m.data + FIXED_HEAD, size - FIXED_HEAD, e);
    m.type = (enum dbus_type)head[1];
    m.body = m.data + start;
    m.len = body;
    if (r == 0 && !read_fields(&m, FIXED_HEAD, FIXED_HEAD + fields))
        r = err_set(e, ERR_INTERNAL, "a message of the system bus cannot be read");
    if (r < 0)
        free(m.data);
    else
        *ret = m;
    return r;
}

void dbus_message_done(struct dbus_message *m) {
    free(m->data);
    *m = (struct dbus_message){0};
}

int dbus_call(struct dbus *d, const struct dbus_call *c, struct dbus_message *ret, struct err *e) {
    struct dbus_message m = {
        .type = DBUS_CALL, .destination = c->destination, .path = c->path, .interface = c->interface, .member = c->member, .signature = c->signature};
    int r = dbus_send(d, &m, c->body, e);
    uint32_t serial = d->serial;

    while (r == 0) {
        const char *text;
        size_t pos = 0;

        r = dbus_receive(d, &m, e);
        if (r < 0)
            break;
        if (m.reply_to == serial && m.type == DBUS_RETURN) {
            *ret = m;
            return 0;
        }
        if (m.reply_to == serial && m.type == DBUS_ERROR) {
            if (!m.signature || m.signature[0] != 's' || !dbus_get_string(&m, &pos, &text))
                text = m.error ? m.error : "refused";
            r = err_set(e, ERR_CONFLICT, "%s", text);
        }
        dbus_message_done(&m);
    }
    return r;
}

/* ---- a connection ------------------------------------------------------------------------------------------------------------------ */

/* We are who the socket says we are: the bus asks the kernel. */
static int authenticate(int fd, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(128);
    char uid[16], line[256];
    size_t n = 0;
    int r;

    snprintf(uid, sizeof(uid), "%u", (unsigned)geteuid());
    buf_addc(&b, 0);
    buf_adds(&b, "AUTH EXTERNAL ");
    for (const char *p = uid; *p; p++)
        buf_addf(&b, "%02x", (unsigned)*p);
    buf_adds(&b, "\r\n");
    r = write_all(fd, b.data, b.len, e);
    /* Byte by byte: what follows the line is not ours to take. */
    do {
        if (r == 0)
            r = read_all(fd, line + n, 1, e);
    } while (r == 0 && line[n] != '\n' && ++n < sizeof(line) - 1);
    if (r < 0)
        return r;
    if (strncmp(line, "OK ", 3) != 0)
        return err_set(e, ERR_UNAVAILABLE, "the system bus does not let us in");
    return write_all(fd, "BEGIN\r\n", strlen("BEGIN\r\n"), e);
}

int dbus_open_fd(int fd, struct dbus *ret, struct err *e) {
    struct timeval patience = {.tv_sec = DBUS_PATIENCE_S};
    struct dbus d = {.fd = fd};
    struct dbus_message hello;
    int r = 0;

    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0)
        r = err_errno(e, errno, "system bus");
    if (r == 0)
        r = authenticate(fd, e);
    if (r == 0)
        r = dbus_call(&d, &(struct dbus_call){DBUS_NAME, DBUS_PATH, DBUS_NAME, "Hello", NULL, NULL}, &hello, e);
    if (r < 0) {
        close_fd(fd);
        return r;
    }
    dbus_message_done(&hello);
    *ret = d;
    return 0;
}

int dbus_open(struct dbus *ret, struct err *e) {
    static const char prefix[] = "unix:path=";
    const char *address = getenv("DBUS_SYSTEM_BUS_ADDRESS"), *path = address ? strstr(address, prefix) : NULL;
    size_t len = path ? strcspn(path += strlen(prefix), ",;") : strlen(path = SYSTEM_BUS);
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    _cleanup_close_ int fd = -EBADF;

    if (len >= sizeof(to.sun_path))
        return err_set(e, ERR_INVALID, "the address of the system bus is too long");
    memcpy(to.sun_path, path, len);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_errno(e, errno, "system bus");
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
        return err_set(e, ERR_UNAVAILABLE, "no system bus at %s: %s", to.sun_path, strerror(errno));
    return dbus_open_fd(TAKE_FD(fd), ret, e);
}

void dbus_close(struct dbus *d) {
    d->fd = close_fd(d->fd);
}
