/* Usage: loadgen PROTOCOL PORT ROOM_SIZE TOKENS_FILE
 * PROTOCOL is mj1 or colyseus. The server is on 127.0.0.1.
 *
 * Commands:
 *   rooms FILE            read the ids of the next rooms, one in a line (mj1 only, because Colyseus creates its rooms)
 *   players N PARALLEL S  change the number of players to N, in whole rooms, with at most PARALLEL joins at a time, within S seconds
 *   measure S             measure for S seconds
 *
 * Each player sends 20 inputs a second, each player at another moment of the 50 ms. An input's latency is the time from the
 * call that sends it until this program reads the first frame that shows the input or a later input. An input that no frame
 * has shown at the end of a measurement counts with its waiting time, if that is more than 100 ms. */

#include "loadgen.h"

#include <arpa/inet.h>
#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SLOTS 50
#define SLOT_US 1000
#define UNANSWERED_US 100000
#define MAX_CLIENTS 20000
#define STDIN UINT32_MAX

int64_t now_us;

const struct protocol *protocol;
struct sockaddr_in server;
int poller;
static uint32_t room_size;
static char **tokens;
static uint32_t token_count;

static struct client clients[MAX_CLIENTS];
static struct room rooms[MAX_CLIENTS];
static uint32_t room_ids; /* number of rooms whose id is known before the joins: mj1 */
static uint32_t room_next;
static uint32_t wanted;  /* clients 0 to wanted-1 play */

/* One command runs at a time. */
static struct {
    enum { NONE, PLAYERS, MEASURE } kind;
    int64_t started, deadline;
    uint32_t parallel, next, joined_before;
} command;

static uint64_t slot_due;
static int64_t epoch;

void read_clock(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    now_us = (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

const char *token_of(const struct client *client) { return tokens[client->index % token_count]; }

bool is_creator(const struct client *client) { return client->index % room_size == 0; }

/* Spreads the players over the slots without relation to their rooms, so that a room's players do not send together. */
static uint32_t slot_of(uint32_t index) { return (index * 2654435761U >> 12) % SLOTS; }

static void send_inputs(void) {
    static uint32_t order[SLOTS][MAX_CLIENTS / 8];
    static uint32_t filled[SLOTS], known;
    for (; known < wanted; known++) {
        uint32_t slot = slot_of(known);
        if (filled[slot] < MAX_CLIENTS / 8) order[slot][filled[slot]++] = known;
    }
    while (true) {
        int64_t due = epoch + (int64_t)slot_due * SLOT_US;
        if (due > now_us) return;
        uint32_t slot = (uint32_t)(slot_due % SLOTS);
        slot_due++;
        measure_lag(now_us - due);
        for (uint32_t index = 0; index < filled[slot]; index++) {
            struct client *client = &clients[order[slot][index]];
            if (client->state != PLAYING) continue;
            if ((index & 15) == 0) read_clock();
            play(client);
        }
        read_clock();
    }
}

/* Commands */

static bool startable(const struct client *client) {
    return protocol->matchmake == NULL || is_creator(client) || client->room->id[0] != '\0';
}

static void give_room(struct client *client) {
    if (!is_creator(client)) {
        client->room = clients[client->index - 1].room;
        return;
    }
    if (protocol->matchmake == NULL && room_next >= room_ids) {
        fprintf(stderr, "loadgen: no room is left\n");
        exit(1);
    }
    client->room = &rooms[room_next++ % MAX_CLIENTS];
}

/* Starts the players who create a room first, then all other players, so that no player waits for a room. */
static void start_some(void) {
    for (; command.next < 2 * wanted && joining < command.parallel; command.next++) {
        struct client *client = &clients[command.next % wanted];
        bool first_pass = command.next < wanted;
        if (client->state != IDLE || (first_pass && !is_creator(client))) continue;
        if (!startable(client)) return;
        start(client);
    }
}

static void leave_all_from(uint32_t first) {
    uint8_t out[16];
    for (uint32_t index = first; index < wanted; index++) {
        struct client *client = &clients[index];
        if (client->state == PLAYING) send_message(client, out, protocol->leave(out));
        drop(client);
    }
    wanted = first;
}

static void begin_players(uint32_t count, uint32_t parallel, double seconds) {
    count -= count % room_size;
    if (count > MAX_CLIENTS) count = MAX_CLIENTS - MAX_CLIENTS % room_size;
    if (count < wanted) leave_all_from(count);
    for (; wanted < count; wanted++) give_room(&clients[wanted]);
    command.kind = PLAYERS;
    command.started = now_us;
    command.deadline = now_us + (int64_t)(seconds * 1e6);
    command.parallel = parallel;
    command.next = 0;
    command.joined_before = playing;
}

static void end_players(void) {
    double seconds = (double)(now_us - command.started) / 1e6;
    printf("{\"players\":%u,\"wanted\":%u,\"joined\":%d,\"seconds\":%.3f}\n", playing, wanted,
           (int)playing - (int)command.joined_before, seconds);
    fflush(stdout);
    command.kind = NONE;
}

static void begin_measure(double seconds) {
    for (uint32_t index = 0; index < wanted; index++) clients[index].frames = 0;
    memset(&errors, 0, sizeof errors);
    inputs_sent = 0;
    measure_begin(now_us);
    command.kind = MEASURE;
    command.started = now_us;
    command.deadline = now_us + (int64_t)(seconds * 1e6);
}

static void end_measure(void) {
    char text[200];
    struct summary summary = {.clients = playing, .inputs = inputs_sent, .slowest_hz = 1e9, .errors = text};
    double seconds = (double)(now_us - command.started) / 1e6;
    for (uint32_t index = 0; index < wanted; index++) {
        struct client *client = &clients[index];
        if (client->state != PLAYING) continue;
        summary.frames += client->frames;
        summary.slowest_hz = fmin(summary.slowest_hz, client->frames / seconds);
        for (uint32_t sequence = client->shown + 1; sequence <= client->sequence; sequence++) {
            int64_t waited = now_us - client->sent_at[sequence % RING];
            if (waited <= UNANSWERED_US) break;
            measure_latency(waited);
            summary.unanswered++;
        }
    }
    snprintf(text, sizeof text, "{\"connect\":%u,\"refused\":%u,\"closed\":%u,\"blocked\":%u,\"protocol\":%u}",
             errors.connect, errors.refused, errors.closed, errors.blocked, errors.protocol);
    measure_print(now_us, &summary);
    command.kind = NONE;
}

static void read_rooms(const char *path) {
    FILE *file = fopen(path, "r");
    char line[NAME];
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        memcpy(rooms[room_ids++ % MAX_CLIENTS].id, line, sizeof line);
    }
    fclose(file);
    printf("{\"rooms\":%u}\n", room_ids - room_next);
    fflush(stdout);
}

static void read_command(void) {
    char line[512], path[400];
    uint32_t count, parallel;
    double seconds;
    ssize_t size = read(STDIN_FILENO, line, sizeof line - 1);
    if (size <= 0) exit(0);
    line[size] = '\0';
    if (sscanf(line, "players %u %u %lf", &count, &parallel, &seconds) == 3) begin_players(count, parallel, seconds);
    else if (sscanf(line, "measure %lf", &seconds) == 1) begin_measure(seconds);
    else if (sscanf(line, "rooms %399s", path) == 1) read_rooms(path);
    else exit(2);
}

static void advance_command(void) {
    if (command.kind == PLAYERS) {
        start_some();
        if ((command.next >= 2 * wanted && joining == 0) || now_us > command.deadline) end_players();
    } else if (command.kind == MEASURE && now_us >= command.deadline) {
        end_measure();
    }
}

static void read_tokens(const char *path) {
    static char line[8192];
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    tokens = malloc(MAX_CLIENTS * sizeof *tokens);
    while (token_count < MAX_CLIENTS && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        tokens[token_count++] = strdup(line);
    }
    fclose(file);
}

/* A wake-up for every frame would cost this core, and the server's core, more than the frame itself. So the frames are read
 * once in each slot of a millisecond, and measured latencies are up to a millisecond too long. */
static void sleep_until_slot(void) {
    read_clock();
    int64_t until = epoch + (int64_t)slot_due * SLOT_US - now_us;
    if (until <= 0) return;
    struct timespec pause = {.tv_nsec = until * 1000};
    nanosleep(&pause, NULL);
    read_clock();
}

static void take_events(void) {
    static struct epoll_event events[256];
    /* The number of rounds is limited, because inputs must be sent. */
    for (int round = 0, count = 256; round < 16 && count == 256; round++) {
        count = epoll_wait(poller, events, 256, 0);
        for (int index = 0; index < count; index++) {
            if ((index & 15) == 0) read_clock();
            uint32_t who = events[index].data.u32;
            if (who == STDIN) {
                read_command();
                continue;
            }
            struct client *client = &clients[who];
            /* An earlier event may have dropped this client. */
            if (client->fd < 0) continue;
            if ((events[index].events & EPOLLOUT) != 0) connected(client);
            else readable(client);
        }
    }
    read_clock();
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: loadgen mj1|colyseus PORT ROOM_SIZE TOKENS_FILE\n");
        return 2;
    }
    protocol = strcmp(argv[1], "mj1") == 0 ? &mj1 : &colyseus;
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    room_size = (uint32_t)atoi(argv[3]);
    read_tokens(argv[4]);
    for (uint32_t index = 0; index < MAX_CLIENTS; index++) clients[index] = (struct client){.fd = -1, .index = index};
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event input = {.events = EPOLLIN, .data.u32 = STDIN};
    epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &input);
    read_clock();
    epoch = now_us;
    while (true) {
        sleep_until_slot();
        take_events();
        send_inputs();
        advance_command();
    }
}
