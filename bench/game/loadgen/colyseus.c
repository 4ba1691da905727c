/* Colyseus 0.18 with the schema of peer/arena.mjs. A patch is decoded operation by operation, as @colyseus/schema's own
 * decoder does (decoder/Decoder.ts, DecodeOperation.ts), to find `lastInput` of the own player among all changes. */

#include "loadgen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* From shared-types/Protocol.ts. */
enum { JOIN_ROOM = 10, LEAVE_ROOM = 12, ROOM_DATA = 13, ROOM_STATE = 14, ROOM_STATE_PATCH = 15 };

/* From schema/encoding/spec.ts. */
enum { OP_ADD = 128, OP_DELETE = 64, OP_CLEAR = 10, SWITCH_TO_STRUCTURE = 255, TYPE_ID = 213 };

enum kind { UNKNOWN, STATE, PLAYERS, PICK_UPS, PLAYER, PICK_UP };
enum { FIELD_LAST_INPUT = 3 };

static const uint8_t PLAYER_BYTES[] = {2, 2, 2, 2};
static const uint8_t PICK_UP_BYTES[] = {2, 2, 1};

static size_t matchmake(struct client *client, char *out, size_t capacity) {
    if (is_creator(client)) return (size_t)snprintf(out, capacity, "/matchmake/create/arena");
    return (size_t)snprintf(out, capacity, "/matchmake/joinById/%s", client->room->id);
}

static bool matchmade(struct client *client, const char *body) {
    struct room *room = client->room;
    return json_string(body, "sessionId", client->session, NAME) && json_string(body, "roomId", room->id, NAME) &&
           json_string(body, "processId", room->process, NAME);
}

static size_t path(const struct client *client, char *out, size_t capacity) {
    const struct room *room = client->room;
    return (size_t)snprintf(out, capacity, "/%s/%s?sessionId=%s", room->process, room->id, client->session);
}

static uint32_t little_endian(struct reader *reader, unsigned bytes) {
    if (reader->bad || reader->end - reader->at < (ptrdiff_t)bytes) {
        reader->bad = true;
        return 0;
    }
    uint32_t value = 0;
    for (unsigned index = 0; index < bytes; index++) value |= (uint32_t)reader->at[index] << 8 * index;
    reader->at += bytes;
    return value;
}

/* As number() of schema/encoding/decode.ts: MessagePack's prefixes before little-endian values. References are integers. */
static uint32_t number(struct reader *reader) {
    uint32_t first = little_endian(reader, 1);
    if (first < 0x80) return first;
    if (first >= 0xcc && first <= 0xce) return little_endian(reader, 1U << (first - 0xcc));
    reader->bad = true;
    return 0;
}

static size_t text(struct reader *reader, const char **start) {
    uint32_t first = little_endian(reader, 1);
    uint32_t length = first < 0xc0 ? first & 0x1f : first == 0xd9 ? little_endian(reader, 1) : UINT32_MAX;
    if (reader->bad || length > (size_t)(reader->end - reader->at)) {
        reader->bad = true;
        return 0;
    }
    *start = (const char *)reader->at;
    reader->at += length;
    return length;
}

static void remember(struct room *room, uint32_t reference, enum kind kind) {
    if (reference >= room->kinds_size) {
        uint32_t size = room->kinds_size == 0 ? 256 : room->kinds_size;
        while (size <= reference) size *= 2;
        room->kinds = realloc(room->kinds, size);
        memset(room->kinds + room->kinds_size, UNKNOWN, size - room->kinds_size);
        room->kinds_size = size;
    }
    room->kinds[reference] = (uint8_t)kind;
}

static enum kind kind_of(const struct room *room, uint32_t reference) {
    if (reference == 0) return STATE;
    return reference < room->kinds_size ? (enum kind)room->kinds[reference] : UNKNOWN;
}

/* Reads the reference after an operation on a field or an entry, and the type that may follow an ADD. */
static uint32_t reference(struct reader *reader, uint32_t operation) {
    uint32_t found = number(reader);
    if ((operation & OP_ADD) != 0 && reader->at < reader->end && *reader->at == TYPE_ID) {
        reader->at++;
        number(reader);
    }
    return found;
}

static void state_field(struct client *client, struct reader *reader) {
    uint32_t first = little_endian(reader, 1);
    uint32_t operation = first & 0xc0;
    uint32_t field = first & 0x3f;
    if (field > 1) reader->bad = true;
    if (operation != OP_DELETE) remember(client->room, number(reader), field == 0 ? PLAYERS : PICK_UPS);
}

static void map_entry(struct client *client, struct reader *reader, enum kind kind) {
    uint32_t operation = little_endian(reader, 1);
    if (operation == OP_CLEAR) return;
    number(reader);
    bool own = false;
    if ((operation & OP_ADD) != 0) {
        const char *key = "";
        size_t length = text(reader, &key);
        own = kind == PLAYERS && length == strlen(client->session) && memcmp(key, client->session, length) == 0;
    }
    if (operation == OP_DELETE) return;
    uint32_t found = reference(reader, operation);
    if (reader->bad) return;
    remember(client->room, found, kind == PLAYERS ? PLAYER : PICK_UP);
    if (own) client->own = found;
}

/* Input numbers are modulo 65536, but `shown` is not. An input that was counted as lost may still be shown. */
static void show(struct client *client, uint32_t last_input, struct reader *reader) {
    int16_t step = (int16_t)(last_input - client->shown);
    if (step <= 0) return;
    if (client->shown + (uint32_t)step > client->sequence) reader->bad = true;
    else client->shown += (uint32_t)step;
}

static void leaf_field(struct client *client, struct reader *reader, const uint8_t *sizes, size_t fields, bool own) {
    uint32_t first = little_endian(reader, 1);
    uint32_t field = first & 0x3f;
    if ((first & 0xc0) == OP_DELETE) return;
    if (field >= fields) {
        reader->bad = true;
        return;
    }
    uint32_t value = little_endian(reader, sizes[field]);
    if (own && field == FIELD_LAST_INPUT && !reader->bad) show(client, value, reader);
}

static bool decode_state(struct client *client, const uint8_t *data, size_t size) {
    struct reader reader = {data, data + size, false};
    uint32_t current = 0;
    while (reader.at < reader.end && !reader.bad) {
        if (*reader.at == SWITCH_TO_STRUCTURE) {
            reader.at++;
            current = number(&reader);
            continue;
        }
        enum kind kind = kind_of(client->room, current);
        bool own = kind == PLAYER && current == client->own;
        if (kind == STATE) state_field(client, &reader);
        else if (kind == PLAYERS || kind == PICK_UPS) map_entry(client, &reader, kind);
        else if (kind == PLAYER) leaf_field(client, &reader, PLAYER_BYTES, sizeof PLAYER_BYTES, own);
        else if (kind == PICK_UP) leaf_field(client, &reader, PICK_UP_BYTES, sizeof PICK_UP_BYTES, false);
        else reader.bad = true;
    }
    return !reader.bad;
}

static enum verdict received(struct client *client, const uint8_t *data, size_t size) {
    static const uint8_t confirm[] = {JOIN_ROOM};
    if (size == 0) return BAD;
    switch (data[0]) {
    case JOIN_ROOM:
        send_message(client, confirm, sizeof confirm);
        return IGNORED;
    case ROOM_STATE:
        client->own = UINT32_MAX;
        return decode_state(client, data + 1, size - 1) && client->own != UINT32_MAX ? JOINED : BAD;
    case ROOM_STATE_PATCH:
        return decode_state(client, data + 1, size - 1) ? FRAME : BAD;
    default:
        return BAD;
    }
}

static size_t input(struct client *client, double x, double y, uint8_t *out) {
    size_t size = 0;
    out[size++] = ROOM_DATA;
    out[size++] = 0;
    out[size++] = 0x93;
    size += write_uint(out + size, client->sequence);
    size += write_double(out + size, x);
    size += write_double(out + size, y);
    return size;
}

static size_t leave(uint8_t *out) {
    out[0] = LEAVE_ROOM;
    return 1;
}

const struct protocol colyseus = {
    .subprotocol = NULL,
    .matchmake = matchmake,
    .matchmade = matchmade,
    .path = path,
    .opened = NULL,
    .received = received,
    .input = input,
    .leave = leave,
};
