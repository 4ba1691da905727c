/* The subprotocol mj1.msgpack of gameserver/protocol.py. A frame lists the inputs that no earlier frame has shown. */

#include "loadgen.h"

#include <stdio.h>
#include <string.h>

static bool is(const char *text, size_t length, const char *wanted) {
    return length == strlen(wanted) && memcmp(text, wanted, length) == 0;
}

static size_t path(const struct client *client, char *out, size_t capacity) {
    (void)client;
    return (size_t)snprintf(out, capacity, "/play");
}

static size_t hello(struct client *client, uint8_t *out) {
    size_t size = 0;
    char name[NAME];
    snprintf(name, sizeof name, "bench %u", client->index);
    out[size++] = 0x94;
    size += write_string(out + size, "hello");
    size += write_string(out + size, client->room->id);
    size += write_string(out + size, token_of(client));
    size += write_string(out + size, name);
    return size;
}

static enum verdict welcomed(struct client *client, struct reader *reader) {
    bool found = false;
    uint32_t fields = read_map(reader);
    while (fields-- > 0 && !reader->bad) {
        const char *key;
        size_t length = read_string(reader, &key);
        if (is(key, length, "slot")) {
            client->own = (uint32_t)read_uint(reader);
            found = true;
        } else {
            skip_value(reader);
        }
    }
    return found && !reader->bad ? JOINED : BAD;
}

static enum verdict acknowledged(struct client *client, struct reader *reader) {
    uint32_t values = read_array(reader);
    for (; values >= 2 && !reader->bad; values -= 2) {
        uint64_t slot = read_uint(reader);
        uint64_t sequence = read_uint(reader);
        if (slot != client->own) continue;
        if (sequence > client->sequence) return BAD;
        /* An input that was counted as lost may still be shown. */
        if (sequence > client->shown) client->shown = (uint32_t)sequence;
    }
    return reader->bad ? BAD : FRAME;
}

static enum verdict received(struct client *client, const uint8_t *data, size_t size) {
    struct reader reader = {data, data + size, false};
    uint32_t fields = read_array(&reader);
    const char *type;
    size_t length = read_string(&reader, &type);
    if (reader.bad || fields < 2) return BAD;
    if (is(type, length, "f")) {
        read_uint(&reader);
        return acknowledged(client, &reader);
    }
    if (is(type, length, "full")) {
        for (int field = 0; field < 3; field++) skip_value(&reader);
        return acknowledged(client, &reader);
    }
    if (is(type, length, "welcome")) return welcomed(client, &reader);
    return is(type, length, "servers") || is(type, length, "pong") ? IGNORED : BAD;
}

static size_t input(struct client *client, double x, double y, uint8_t *out) {
    size_t size = 0;
    out[size++] = 0x93;
    size += write_string(out + size, "i");
    size += write_uint(out + size, client->sequence);
    out[size++] = 0x92;
    size += write_double(out + size, x);
    size += write_double(out + size, y);
    return size;
}

static size_t leave(uint8_t *out) {
    out[0] = 0x91;
    return 1 + write_string(out + 1, "leave");
}

const struct protocol mj1 = {
    .subprotocol = "mj1.msgpack",
    .matchmake = NULL,
    .path = path,
    .opened = hello,
    .received = received,
    .input = input,
    .leave = leave,
};
