/* The histograms of a measurement, and its report. */

#include "loadgen.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define STEP_US 100
#define STEPS 200000 /* up to 20 s */

struct histogram {
    uint32_t counts[STEPS];
    uint64_t total;
    int64_t max;
};

static struct histogram latency, lag;
static uint64_t bytes;
static int64_t began;
static struct rusage usage;

static void add(struct histogram *histogram, int64_t us) {
    if (us < 0) us = 0;
    int64_t step = us / STEP_US;
    histogram->counts[step < STEPS ? step : STEPS - 1]++;
    histogram->total++;
    if (us > histogram->max) histogram->max = us;
}

/* Returns a quantile in milliseconds, as the upper end of its histogram step. */
static double quantile(const struct histogram *histogram, double share) {
    uint64_t wanted = (uint64_t)(share * (double)histogram->total), seen = 0;
    for (int64_t step = 0; step < STEPS; step++) {
        seen += histogram->counts[step];
        if (seen > wanted) return (double)(step + 1) * STEP_US / 1000;
    }
    return (double)histogram->max / 1000;
}

static double cpu_seconds(const struct rusage *from, const struct rusage *to) {
    const struct timeval *ends[] = {&to->ru_utime, &to->ru_stime}, *starts[] = {&from->ru_utime, &from->ru_stime};
    double sum = 0;
    for (int part = 0; part < 2; part++) {
        sum += (double)(ends[part]->tv_sec - starts[part]->tv_sec);
        sum += (double)(ends[part]->tv_usec - starts[part]->tv_usec) / 1e6;
    }
    return sum;
}

void measure_begin(int64_t now) {
    memset(&latency, 0, sizeof latency);
    memset(&lag, 0, sizeof lag);
    bytes = 0;
    began = now;
    getrusage(RUSAGE_SELF, &usage);
}

void measure_latency(int64_t us) { add(&latency, us); }
void measure_lag(int64_t us) { add(&lag, us); }
void measure_bytes(size_t size) { bytes += size; }

void measure_print(int64_t now, const struct summary *summary) {
    struct rusage after;
    getrusage(RUSAGE_SELF, &after);
    double seconds = (double)(now - began) / 1e6;
    double clients = summary->clients > 0 ? summary->clients : 1;
    double frames = summary->frames > 0 ? (double)summary->frames : 1;
    printf("{\"clients\":%u,\"seconds\":%.3f,", summary->clients, seconds);
    printf("\"latency_p50_ms\":%.1f,\"latency_p99_ms\":%.1f,\"latency_max_ms\":%.1f,", quantile(&latency, 0.5),
           quantile(&latency, 0.99), (double)latency.max / 1000);
    printf("\"samples\":%lu,\"unanswered\":%lu,\"inputs\":%lu,", latency.total, summary->unanswered, summary->inputs);
    printf("\"frames_hz\":%.3f,\"slowest_frames_hz\":%.3f,\"frame_bytes\":%.1f,",
           (double)summary->frames / clients / seconds, summary->slowest_hz, (double)bytes / frames);
    printf("\"generator_cpu\":%.3f,\"lag_p99_ms\":%.1f,\"lag_max_ms\":%.1f,", cpu_seconds(&usage, &after) / seconds,
           quantile(&lag, 0.99), (double)lag.max / 1000);
    printf("\"errors\":%s}\n", summary->errors);
    fflush(stdout);
}
