/* The connection of a player, from the first call to the last frame. */

#include "loadgen.h"

#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER (1 << 19)

struct errors errors;
uint32_t playing, joining;
uint64_t inputs_sent;

static void keep_partial(struct client *client, const uint8_t *data, size_t size) {
    free(client->partial);
    client->partial = NULL;
    client->partial_size = (uint32_t)size;
    if (size > 0) {
        client->partial = malloc(size);
        memcpy(client->partial, data, size);
    }
}

void drop(struct client *client) {
    if (client->fd >= 0) close(client->fd);
    client->fd = -1;
    if (client->state == PLAYING) playing--;
    else if (client->state != IDLE) joining--;
    client->state = IDLE;
    free(client->partial);
    client->partial = NULL;
    client->partial_size = 0;
}

static void complain(const char *what, const uint8_t *data, size_t size) {
    static unsigned said;
    if (said++ >= 10) return;
    fprintf(stderr, "loadgen: %s:", what);
    for (size_t index = 0; index < size && index < 160; index++) {
        fprintf(stderr, data[index] >= ' ' && data[index] < 127 ? "%c" : "\\x%02x", data[index]);
    }
    fputc('\n', stderr);
}

static void fail(struct client *client, uint32_t *counter, const char *what, const uint8_t *data, size_t size) {
    (*counter)++;
    complain(what, data, size);
    drop(client);
}

static bool dial(struct client *client) {
    int one = 1;
    client->connections++;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0) return false;
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(client->fd, (const struct sockaddr *)&server, sizeof server) != 0 && errno != EINPROGRESS) return false;
    struct epoll_event event = {.events = EPOLLOUT, .data.u32 = client->index};
    return epoll_ctl(poller, EPOLL_CTL_ADD, client->fd, &event) == 0;
}

static void send_raw(struct client *client, const void *data, size_t size) {
    ssize_t sent = send(client->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    /* The server has not read for so long that the socket is full. A frame that is half sent cannot be withdrawn. */
    if (sent != (ssize_t)size) fail(client, &errors.blocked, "cannot send", NULL, 0);
}

static void send_frame(struct client *client, uint8_t opcode, const uint8_t *data, size_t size) {
    static uint8_t frame[8192];
    static uint32_t mask = 0x9e3779b9;
    size_t head = 2;
    frame[0] = 0x80 | opcode;
    if (size < 126) {
        frame[1] = (uint8_t)(0x80 | size);
    } else {
        frame[1] = 0x80 | 126;
        frame[2] = (uint8_t)(size >> 8);
        frame[3] = (uint8_t)size;
        head = 4;
    }
    mask = mask * 1664525 + 1013904223;
    uint8_t *key = frame + head, *body = key + 4;
    memcpy(key, &mask, 4);
    for (size_t index = 0; index < size; index++) body[index] = data[index] ^ key[index & 3];
    send_raw(client, frame, head + 4 + size);
}

void send_message(struct client *client, const uint8_t *data, size_t size) { send_frame(client, 2, data, size); }

void connected(struct client *client) {
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) {
        fail(client, &errors.connect, strerror(error), NULL, 0);
        return;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = client->index};
    epoll_ctl(poller, EPOLL_CTL_MOD, client->fd, &event);
    char path[256], request[1024];
    int size;
    if (client->state == MATCHMAKING) {
        protocol->matchmake(client, path, sizeof path);
        size = snprintf(request, sizeof request,
                        "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                        "Content-Length: 2\r\nConnection: close\r\n\r\n{}",
                        path);
    } else {
        protocol->path(client, path, sizeof path);
        size = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s%s%s\r\n",
                        path, protocol->subprotocol != NULL ? "Sec-WebSocket-Protocol: " : "",
                        protocol->subprotocol != NULL ? protocol->subprotocol : "",
                        protocol->subprotocol != NULL ? "\r\n" : "");
    }
    send_raw(client, request, (size_t)size);
}

void start(struct client *client) {
    client->sequence = client->shown = client->frames = 0;
    client->heading = (double)(client->index * 2654435761U >> 8);
    client->turn_left = 0;
    client->state = protocol->matchmake != NULL ? MATCHMAKING : UPGRADING;
    joining++;
    if (!dial(client)) fail(client, &errors.connect, strerror(errno), NULL, 0);
}

/* Receiving */

static void shown(struct client *client, uint32_t before) {
    for (uint32_t sequence = before + 1; sequence <= client->shown; sequence++) {
        measure_latency(now_us - client->sent_at[sequence % RING]);
    }
}

static void message(struct client *client, const uint8_t *data, size_t size) {
    uint32_t before = client->shown;
    enum verdict verdict = protocol->received(client, data, size);
    if (client->fd < 0) return;
    if (verdict == FRAME && client->state == PLAYING) {
        client->frames++;
        measure_bytes(size);
        shown(client, before);
    } else if (verdict == JOINED && client->state == JOINING) {
        client->state = PLAYING;
        joining--;
        playing++;
    } else if (verdict == BAD) {
        fail(client, client->state == PLAYING ? &errors.protocol : &errors.refused, "unexpected message", data, size);
    }
}

/* Returns the bytes of one whole WebSocket frame taken from `data`, 0 if there is none. */
static size_t frame(struct client *client, const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    size_t length = data[1] & 0x7f, head = 2;
    if (length == 126) {
        if (size < 4) return 0;
        length = (size_t)data[2] << 8 | data[3];
        head = 4;
    } else if (length == 127) {
        if (size < 10) return 0;
        length = 0;
        for (int index = 2; index < 10; index++) length = length << 8 | data[index];
        head = 10;
    }
    if (size < head + length) return 0;
    uint8_t opcode = data[0] & 0x0f;
    if ((data[0] & 0xf0) != 0x80 || (data[1] & 0x80) != 0) {
        fail(client, &errors.protocol, "unexpected WebSocket frame", data, head);
    } else if (opcode == 2) {
        message(client, data + head, length);
    } else if (opcode == 9) {
        send_frame(client, 10, data + head, length);
    } else if (opcode == 8) {
        fail(client, client->state == PLAYING ? &errors.closed : &errors.refused, "closed", data + head, length);
    } else if (opcode != 10) {
        fail(client, &errors.protocol, "unexpected WebSocket frame", data, head);
    }
    return head + length;
}

/* Returns the bytes of the HTTP answer taken from `data`, 0 if it is not complete. */
static size_t http(struct client *client, uint8_t *data, size_t size) {
    data[size] = '\0';
    char *text = (char *)data, *body = strstr(text, "\r\n\r\n");
    if (body == NULL) return 0;
    body += 4;
    if (client->state == UPGRADING) {
        if (strncmp(text, "HTTP/1.1 101", 12) != 0) {
            fail(client, &errors.refused, "not upgraded", data, size);
            return 0;
        }
        client->state = JOINING;
        if (protocol->opened != NULL) {
            uint8_t out[8192];
            send_message(client, out, protocol->opened(client, out));
        }
        return (size_t)(body - text);
    }
    if (strncmp(text, "HTTP/1.1 200", 12) == 0 && strchr(body, '}') == NULL) return 0;
    if (!protocol->matchmade(client, body)) {
        fail(client, &errors.refused, "no seat", data, size);
        return 0;
    }
    close(client->fd);
    keep_partial(client, NULL, 0);
    client->state = UPGRADING;
    if (!dial(client)) fail(client, &errors.connect, strerror(errno), NULL, 0);
    return 0;
}

void readable(struct client *client) {
    static uint8_t buffer[BUFFER + 1];
    size_t have = client->partial_size;
    memcpy(buffer, client->partial, have);
    ssize_t got = recv(client->fd, buffer + have, BUFFER - have, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        fail(client, client->state == PLAYING ? &errors.closed : &errors.refused, "connection lost", NULL, 0);
        return;
    }
    have += (size_t)got;
    size_t used = 0;
    uint32_t connection = client->connections;
    while (client->fd >= 0 && client->connections == connection && used < have) {
        bool upgraded = client->state >= JOINING;
        size_t step = upgraded ? frame(client, buffer + used, have - used) : http(client, buffer + used, have - used);
        if (step == 0) break;
        used += step;
    }
    if (client->fd >= 0 && client->connections == connection) keep_partial(client, buffer + used, have - used);
}

/* Sending */

void play(struct client *client) {
    uint8_t out[64];
    if (client->turn_left-- == 0) {
        /* The player turns at 1 to 2.5 rad/s in one direction for 2 to 5 s, so that each player always moves in curves. */
        double speed = 1.0 + 1.5 * drand48();
        client->turn = (drand48() < 0.5 ? -speed : speed) / 20;
        client->turn_left = (uint32_t)(40 + 60 * drand48());
    }
    client->heading += client->turn;
    if (client->sequence - client->shown >= RING) {
        /* The ring has no more space for the oldest input, so its waiting time is counted now. */
        client->shown++;
        measure_latency(now_us - client->sent_at[client->shown % RING]);
    }
    client->sequence++;
    client->sent_at[client->sequence % RING] = now_us;
    inputs_sent++;
    send_message(client, out, protocol->input(client, cos(client->heading), sin(client->heading), out));
}
