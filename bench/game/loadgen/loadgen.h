/* Load generator of bench/game_server.py: thousands of players on one core, for two protocols.
 *
 * Each line on stdin is a command, which is answered by a line of JSON on stdout. See loadgen.c. */

#ifndef LOADGEN_H
#define LOADGEN_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Most inputs whose time of sending is kept until a frame shows them: 12.8 s at 20 Hz. */
#define RING 256
#define NAME 72

enum state { IDLE, MATCHMAKING, UPGRADING, JOINING, PLAYING };

enum verdict {
    IGNORED,
    JOINED,
    FRAME, /* the state of a tick; `shown` of the client is updated */
    BAD,   /* a violation of the protocol, a refusal, or the end of the match */
};

struct room {
    char id[NAME];     /* match or room, "" until known */
    char process[NAME]; /* Colyseus: the server process that runs it */
    uint8_t *kinds;    /* Colyseus: the type of each reference of the schema, the same for all players of the room */
    uint32_t kinds_size;
};

struct client {
    int fd;
    enum state state;
    uint32_t index;
    uint32_t connections; /* number of connections so far, which distinguishes an old connection from a new one with its descriptor */
    struct room *room;
    char session[NAME];
    uint32_t own;      /* slot, or the schema reference of the own player */
    uint32_t sequence; /* number of the last sent input */
    uint32_t shown;    /* number of the last input that a frame has shown */
    uint32_t frames;
    double heading, turn; /* rad, rad per input */
    uint32_t turn_left;   /* inputs until the player turns in another direction */
    int64_t sent_at[RING];
    uint8_t *partial;
    uint32_t partial_size;
};

/* The differences between the two servers. The functions that write to `out` return the number of written bytes. */
struct protocol {
    const char *subprotocol;
    size_t (*matchmake)(struct client *, char *out, size_t capacity); /* writes the body of an HTTP request; 0 if none is needed */
    bool (*matchmade)(struct client *, const char *body);
    size_t (*path)(const struct client *, char *out, size_t capacity);
    size_t (*opened)(struct client *, uint8_t *out); /* writes the first message after the upgrade; 0 if the server begins */
    enum verdict (*received)(struct client *, const uint8_t *data, size_t size);
    size_t (*input)(struct client *, double x, double y, uint8_t *out);
    size_t (*leave)(uint8_t *out);
};

extern const struct protocol mj1;
extern const struct protocol colyseus;

/* loadgen.c */
extern const struct protocol *protocol;
extern struct sockaddr_in server;
extern int poller;
extern int64_t now_us;
void read_clock(void);
const char *token_of(const struct client *);
bool is_creator(const struct client *);

/* client.c */
extern struct errors {
    uint32_t connect, refused, closed, blocked, protocol;
} errors;
extern uint32_t playing, joining;
extern uint64_t inputs_sent;
void start(struct client *);
void drop(struct client *);
void connected(struct client *);
void readable(struct client *);
void play(struct client *);
void send_message(struct client *, const uint8_t *data, size_t size);

/* wire.c: the parts of MessagePack and HTTP that are needed. A reader sets `bad` after other data. */
struct reader {
    const uint8_t *at, *end;
    bool bad;
};
uint64_t read_uint(struct reader *);
uint32_t read_array(struct reader *);
uint32_t read_map(struct reader *);
size_t read_string(struct reader *, const char **text);
void skip_value(struct reader *);
size_t write_uint(uint8_t *out, uint64_t value);
size_t write_double(uint8_t *out, double value);
size_t write_string(uint8_t *out, const char *text);
bool json_string(const char *json, const char *key, char *out, size_t capacity);

/* measure.c */
void measure_begin(int64_t now);
void measure_latency(int64_t us);
void measure_lag(int64_t us);
void measure_bytes(size_t size);
struct summary {
    uint32_t clients;
    uint64_t inputs, frames, unanswered;
    double slowest_hz;
    const char *errors; /* JSON object */
};
void measure_print(int64_t now, const struct summary *);

#endif
