#include "loadgen.h"

#include <string.h>

static uint64_t big_endian(struct reader *reader, unsigned bytes) {
    if (reader->bad || reader->end - reader->at < (ptrdiff_t)bytes) {
        reader->bad = true;
        return 0;
    }
    uint64_t value = 0;
    while (bytes-- > 0) value = value << 8 | *reader->at++;
    return value;
}

static uint8_t prefix(struct reader *reader) {
    return (uint8_t)big_endian(reader, 1);
}

static void advance(struct reader *reader, uint64_t bytes) {
    if (reader->bad || (uint64_t)(reader->end - reader->at) < bytes) reader->bad = true;
    else reader->at += bytes;
}

uint64_t read_uint(struct reader *reader) {
    uint8_t first = prefix(reader);
    if (first < 0x80) return first;
    if (first >= 0xcc && first <= 0xcf) return big_endian(reader, 1U << (first - 0xcc));
    reader->bad = true;
    return 0;
}

uint32_t read_array(struct reader *reader) {
    uint8_t first = prefix(reader);
    if ((first & 0xf0) == 0x90) return first & 0x0f;
    if (first == 0xdc || first == 0xdd) return (uint32_t)big_endian(reader, first == 0xdc ? 2 : 4);
    reader->bad = true;
    return 0;
}

uint32_t read_map(struct reader *reader) {
    uint8_t first = prefix(reader);
    if ((first & 0xf0) == 0x80) return first & 0x0f;
    if (first == 0xde || first == 0xdf) return (uint32_t)big_endian(reader, first == 0xde ? 2 : 4);
    reader->bad = true;
    return 0;
}

size_t read_string(struct reader *reader, const char **text) {
    uint8_t first = prefix(reader);
    uint64_t length = 0;
    if ((first & 0xe0) == 0xa0) length = first & 0x1f;
    else if (first >= 0xd9 && first <= 0xdb) length = big_endian(reader, 1U << (first - 0xd9));
    else reader->bad = true;
    *text = (const char *)reader->at;
    advance(reader, length);
    return reader->bad ? 0 : (size_t)length;
}

void skip_value(struct reader *reader) {
    for (uint64_t left = 1; left > 0 && !reader->bad; left--) {
        uint8_t first = prefix(reader);
        if (first < 0x80 || first >= 0xe0 || first == 0xc0 || first == 0xc2 || first == 0xc3) continue;
        if (first < 0x90) left += 2U * (first & 0x0f);
        else if (first < 0xa0) left += first & 0x0f;
        else if (first < 0xc0) advance(reader, first & 0x1f);
        else if (first >= 0xc4 && first <= 0xc6) advance(reader, big_endian(reader, 1U << (first - 0xc4)));
        else if (first == 0xca) advance(reader, 4);
        else if (first == 0xcb) advance(reader, 8);
        else if (first >= 0xcc && first <= 0xcf) advance(reader, 1U << (first - 0xcc));
        else if (first >= 0xd0 && first <= 0xd3) advance(reader, 1U << (first - 0xd0));
        else if (first >= 0xd9 && first <= 0xdb) advance(reader, big_endian(reader, 1U << (first - 0xd9)));
        else if (first == 0xdc || first == 0xdd) left += big_endian(reader, first == 0xdc ? 2 : 4);
        else if (first == 0xde || first == 0xdf) left += 2 * big_endian(reader, first == 0xde ? 2 : 4);
        else reader->bad = true;
    }
}

static size_t write_big_endian(uint8_t *out, uint8_t first, uint64_t value, unsigned bytes) {
    out[0] = first;
    for (unsigned index = 0; index < bytes; index++) out[1 + index] = (uint8_t)(value >> 8 * (bytes - 1 - index));
    return 1 + bytes;
}

size_t write_uint(uint8_t *out, uint64_t value) {
    if (value < 0x80) return write_big_endian(out, (uint8_t)value, 0, 0);
    if (value <= 0xff) return write_big_endian(out, 0xcc, value, 1);
    if (value <= 0xffff) return write_big_endian(out, 0xcd, value, 2);
    return write_big_endian(out, 0xce, value, 4);
}

size_t write_double(uint8_t *out, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return write_big_endian(out, 0xcb, bits, 8);
}

size_t write_string(uint8_t *out, const char *text) {
    size_t length = strlen(text);
    size_t head = length < 32 ? write_big_endian(out, (uint8_t)(0xa0 | length), 0, 0)
                              : write_big_endian(out, 0xda, length, 2);
    memcpy(out + head, text, length);
    return head + length;
}

/* Reads the value of the first `"key":"value"`. The values that this program needs contain no escapes. */
bool json_string(const char *json, const char *key, char *out, size_t capacity) {
    char wanted[NAME];
    size_t length = strlen(key);
    if (length + 5 > sizeof wanted) return false;
    wanted[0] = '"';
    memcpy(wanted + 1, key, length);
    memcpy(wanted + 1 + length, "\":\"", 4);
    const char *found = strstr(json, wanted);
    if (found == NULL) return false;
    found += length + 4;
    const char *end = strchr(found, '"');
    if (end == NULL || (size_t)(end - found) >= capacity) return false;
    memcpy(out, found, (size_t)(end - found));
    out[end - found] = '\0';
    return true;
}
