#include "resample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__)
/* So that one text is compiled once for each kind of processor. */
#define ALWAYS_INLINE inline __attribute__((always_inline))
#else
#define ALWAYS_INLINE inline
#endif
#if defined(__x86_64__) && defined(__GNUC__)
#define AVX2 __attribute__((target("avx2")))
#include <immintrin.h>
#endif

/* Weights have 22 fractional bits, as Pillow's: 8 more for a pixel and 2 for what negative weights
   overshoot by make 32. */
#define BITS 22
#define HALF (1 << (BITS - 1))
/* AVX2 multiplies 16 bits at a time, so a weight goes there as two halves; sums of products wrap
   around at 32 bits like those of whole weights, and end at the same number. */
#define LOW_BITS 11
/* A register takes so many neighbouring pixels at once, from a load of so many bytes. */
#define GROUP 4
#define LOAD 16
/* So many bytes of columns are summed side by side. */
#define STRIP 32

/* For each place along one side of the crop, the first source pixel and the weights from there on;
   what is not needed of a place's weights is zero. */
typedef struct {
    int places, size;
    int *first, *count;
    int32_t *weights;
} taps;

static inline uint8_t to_byte(int32_t sum) {
    int32_t value = sum >> BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static double bilinear(double x) {
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static double bicubic(double x) {
    const double a = -0.5; /* Pillow's choice */
    x = fabs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

static void free_taps(taps *t) {
    free(t->first);
    free(t->count);
    free(t->weights);
}

/* What one filter makes of one side of a picture. */
typedef struct {
    double low, scale, inverse, support;
    double (*weigh)(double);
} window;

static window make_window(float low, float high, int target, fleetnet_filter filter) {
    double scale = (double)(high - low) / target;
    double stretch = scale < 1.0 ? 1.0 : scale;
    int cubic = filter == FLEETNET_BICUBIC;
    return (window){low, scale, 1.0 / stretch, (cubic ? 2.0 : 1.0) * stretch,
                    cubic ? bicubic : bilinear};
}

static int at_least(int value, int least) { return value < least ? least : value; }

static int at_most(int value, int most) { return value > most ? most : value; }

/* Write the weights of one place, which add up to one. */
static void weigh(const window *w, double centre, int first, int count, double *exact,
                  int32_t *weights) {
    double sum = 0.0;
    for (int i = 0; i < count; i++) sum += exact[i] = w->weigh((i + first - centre + 0.5) * w->inverse);
    for (int i = 0; i < count; i++) {
        double weight = sum != 0.0 ? exact[i] / sum : exact[i];
        weights[i] = (int32_t)(weight * (1 << BITS) + (weight < 0 ? -0.5 : 0.5));
    }
}

/* Compute the weights for `places` pixels from `start` on of a side that is resized to `target`. */
static int make_taps(taps *t, int source, float low, float high, int target, int start, int places,
                     fleetnet_filter filter) {
    window w = make_window(low, high, target, filter);
    t->places = places;
    t->first = malloc(sizeof(int) * (size_t)places);
    t->count = malloc(sizeof(int) * (size_t)places);
    if (!t->first || !t->count) return -1;
    int most = 1;
    for (int place = 0; place < places; place++) {
        double centre = w.low + (start + place + 0.5) * w.scale;
        t->first[place] = at_least((int)(centre - w.support + 0.5), 0);
        t->count[place] = at_most((int)(centre + w.support + 0.5), source) - t->first[place];
        most = at_least(most, t->count[place]);
    }
    t->size = (most + GROUP - 1) / GROUP * GROUP;
    t->weights = calloc((size_t)places * (size_t)t->size, sizeof(int32_t));
    double *exact = malloc(sizeof(double) * (size_t)most);
    for (int place = 0; t->weights && exact && place < places; place++)
        weigh(&w, w.low + (start + place + 0.5) * w.scale, t->first[place], t->count[place], exact,
              t->weights + (size_t)place * (size_t)t->size);
    int failed = -(!t->weights || !exact);
    free(exact);
    return failed;
}

/* Resample one row of triples to `across->places` triples. */
static void row(const uint8_t *source, uint8_t *out, const taps *across) {
    for (int place = 0; place < across->places; place++) {
        const uint8_t *pixel = source + 3 * (size_t)across->first[place];
        const int32_t *weight = across->weights + (size_t)place * (size_t)across->size;
        int32_t red = HALF, green = HALF, blue = HALF;
        for (int i = across->count[place]; i > 0; i--, pixel += 3, weight++) {
            red += pixel[0] * *weight;
            green += pixel[1] * *weight;
            blue += pixel[2] * *weight;
        }
        out[3 * place] = to_byte(red);
        out[3 * place + 1] = to_byte(green);
        out[3 * place + 2] = to_byte(blue);
    }
}

/* Add up `count` rows by their weights; both the rows and `out` have room for whole strips. */
static ALWAYS_INLINE void columns_body(const uint8_t *rows, size_t stride, const int32_t *weights,
                                       int count, uint8_t *out) {
    for (size_t start = 0; start < stride; start += STRIP) {
        int32_t sums[STRIP];
        for (int i = 0; i < STRIP; i++) sums[i] = HALF;
        for (int tap = 0; tap < count; tap++) {
            const uint8_t *part = rows + (size_t)tap * stride + start;
            for (int i = 0; i < STRIP; i++) sums[i] += part[i] * weights[tap];
        }
        for (int i = 0; i < STRIP; i++) out[start + (size_t)i] = to_byte(sums[i]);
    }
}

static void columns(const uint8_t *rows, size_t stride, const int32_t *weights, int count,
                    uint8_t *out) {
    columns_body(rows, stride, weights, count, out);
}

#ifdef AVX2
AVX2 static void columns_avx2(const uint8_t *rows, size_t stride, const int32_t *weights,
                                       int count, uint8_t *out) {
    columns_body(rows, stride, weights, count, out);
}

/* Split each place's weights for `row_avx2`: for four pixels 16 numbers of the high halves, then 16
   of the low ones, in the order in which it spreads the pixels. */
static int16_t *split_weights(const taps *across) {
    size_t groups = (size_t)across->places * (size_t)across->size / GROUP;
    int16_t *halves = calloc(groups * 32, sizeof(int16_t));
    if (!halves) return NULL;
    for (size_t group = 0; group < groups; group++) {
        const int32_t *weight = across->weights + GROUP * group;
        int16_t *high = halves + 32 * group, *low = high + 16;
        for (int lane = 0; lane < 16; lane++) {
            int32_t one = weight[lane / 8 * 2 + lane % 2];
            high[lane] = (int16_t)(one >> LOW_BITS);
            low[lane] = (int16_t)(one & ((1 << LOW_BITS) - 1));
        }
    }
    return halves;
}

/* As `row`; `source` is read up to LOAD bytes beyond what the weights need, `out` written one. */
AVX2 static void row_avx2(const uint8_t *source, uint8_t *out, const taps *across,
                                   const int16_t *halves) {
    /* From four triples, two to a half of the register: R0 R1 G0 G1 B0 B1, widened to 16 bits. */
    const __m256i spread = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1,
                                            -1, 6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1,
                                            -1, -1);
    const __m128i half = _mm_set1_epi32(HALF);
    int groups = across->size / GROUP;
    for (int place = 0; place < across->places; place++) {
        const uint8_t *pixels = source + 3 * (size_t)across->first[place];
        __m256i high = _mm256_setzero_si256(), low = high;
        for (int group = 0; group < groups; group++, pixels += 3 * GROUP, halves += 32) {
            __m256i four = _mm256_shuffle_epi8(
                _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)pixels)), spread);
            high = _mm256_add_epi32(
                high, _mm256_madd_epi16(four, _mm256_loadu_si256((const __m256i *)halves)));
            low = _mm256_add_epi32(
                low, _mm256_madd_epi16(four, _mm256_loadu_si256((const __m256i *)(halves + 16))));
        }
        __m256i sums = _mm256_add_epi32(_mm256_slli_epi32(high, LOW_BITS), low);
        __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
        sum = _mm_srai_epi32(_mm_add_epi32(sum, half), BITS);
        sum = _mm_packus_epi16(_mm_packs_epi32(sum, sum), sum);
        int32_t triple = _mm_cvtsi128_si32(sum);
        memcpy(out + 3 * place, &triple, sizeof triple);
    }
}

/* Resample rows `from`…`to` by `row_avx2`, the last ones from a copy that may be read beyond. */
static int rows_avx2(const fleetnet_task *task, const taps *across, int from, int to, size_t stride,
                     uint8_t *out) {
    size_t length = 3 * (size_t)task->width, beyond = 3 * (size_t)across->size + LOAD;
    int16_t *halves = split_weights(across);
    uint8_t *copy = calloc(length + beyond, 1);
    if (halves && copy) {
        for (int y = from; y < to; y++) {
            const uint8_t *source = task->pixels + (size_t)y * length;
            if ((size_t)(task->height - 1 - y) * length < beyond)
                source = memcpy(copy, source, length);
            row_avx2(source, out + (size_t)(y - from) * stride, across, halves);
        }
    }
    int failed = !halves || !copy;
    free(halves);
    free(copy);
    return -failed;
}
#endif

static int rows(const fleetnet_task *task, const taps *across, int from, int to, size_t stride,
                uint8_t *out) {
#ifdef AVX2
    if (__builtin_cpu_supports("avx2")) return rows_avx2(task, across, from, to, stride, out);
#endif
    for (int y = from; y < to; y++)
        row(task->pixels + (size_t)y * 3 * (size_t)task->width, out + (size_t)(y - from) * stride,
            across);
    return 0;
}

static void all_columns(const uint8_t *rows, size_t stride, int from, const taps *down, int crop,
                        uint8_t *line, uint8_t *out) {
    void (*sum)(const uint8_t *, size_t, const int32_t *, int, uint8_t *) = columns;
#ifdef AVX2
    if (__builtin_cpu_supports("avx2")) sum = columns_avx2;
#endif
    for (int y = 0; y < crop; y++) {
        sum(rows + (size_t)(down->first[y] - from) * stride, stride,
            down->weights + (size_t)y * (size_t)down->size, down->count[y], line);
        memcpy(out + (size_t)y * 3 * (size_t)crop, line, 3 * (size_t)crop);
    }
}

static int antialiased(const fleetnet_task *task, fleetnet_filter filter, uint8_t *out) {
    taps across = {0}, down = {0};
    uint8_t *middle = NULL, *line = NULL;
    int failed =
        make_taps(&across, task->width, task->box[0], task->box[2], task->resized_width, task->left,
                  task->crop, filter) ||
        make_taps(&down, task->height, task->box[1], task->box[3], task->resized_height, task->top,
                  task->crop, filter);
    if (!failed) {
        int last = task->crop - 1;
        int from = down.first[0], to = down.first[last] + down.count[last];
        size_t stride = (3 * (size_t)task->crop + STRIP) / STRIP * STRIP;
        middle = calloc((size_t)(to - from), stride);
        line = malloc(stride);
        failed = !middle || !line || rows(task, &across, from, to, stride, middle);
        if (!failed) all_columns(middle, stride, from, &down, task->crop, line, out);
    }
    free(middle);
    free(line);
    free_taps(&across);
    free_taps(&down);
    return -failed;
}

/* OpenCV's weights have 11 fractional bits. */
#define CV2_ONE 2048.0f

/* Between which two pixels of a side a place lies, and their weights. */
typedef struct {
    int before, after;
    int32_t nearer, farther;
} pair;

/* With `snap` the nearer pixel gets the whole weight where the other is beyond the edge; OpenCV
   repeats the edge's row instead, which is two truncations and not one. */
static pair make_pair(int source, int target, int place, int snap) {
    float centre = (float)((place + 0.5) * ((double)source / target) - 0.5);
    int below = (int)floorf(centre);
    float fraction = centre - (float)below;
    if (snap && (below < 0 || below >= source - 1)) fraction = 0.0f;
    return (pair){at_least(at_most(below, source - 1), 0),
                  at_least(at_most(below + 1, source - 1), 0),
                  (int32_t)lrintf((1.0f - fraction) * CV2_ONE), (int32_t)lrintf(fraction * CV2_ONE)};
}

static void cv2_row(const uint8_t *source, const pair *across, int places, int32_t *out) {
    for (int place = 0; place < places; place++, out += 3) {
        pair p = across[place];
        const uint8_t *one = source + 3 * (size_t)p.before, *two = source + 3 * (size_t)p.after;
        for (int colour = 0; colour < 3; colour++)
            out[colour] = (one[colour] * p.nearer + two[colour] * p.farther) >> 4;
    }
}

static ALWAYS_INLINE void cv2_blend_body(const int32_t *one, const int32_t *two, pair p,
                                         size_t length, uint8_t *out) {
    for (size_t i = 0; i < length; i++)
        out[i] = (uint8_t)((((one[i] * p.nearer) >> 16) + ((two[i] * p.farther) >> 16) + 2) >> 2);
}

static void cv2_blend(const int32_t *one, const int32_t *two, pair p, size_t length, uint8_t *out) {
    cv2_blend_body(one, two, p, length, out);
}

#ifdef AVX2
AVX2 static void cv2_blend_avx2(const int32_t *one, const int32_t *two, pair p, size_t length,
                                uint8_t *out) {
    cv2_blend_body(one, two, p, length, out);
}
#endif

/* Two source rows resampled to the crop's width: rows that the next row of the crop needs again. */
typedef struct {
    int number[2];
    int32_t *values[2];
} cv2_rows;

static const int32_t *cv2_fetch(cv2_rows *kept, int number, int other, const fleetnet_task *task,
                                const pair *across) {
    int slot = kept->number[0] == number || kept->number[1] == other ? 0 : 1;
    if (kept->number[1] == number) slot = 1;
    if (kept->number[slot] != number) {
        cv2_row(task->pixels + (size_t)number * 3 * (size_t)task->width, across, task->crop,
                kept->values[slot]);
        kept->number[slot] = number;
    }
    return kept->values[slot];
}

static int cv2_linear(const fleetnet_task *task, uint8_t *out) {
    size_t crop = (size_t)task->crop, length = 3 * crop;
    void (*blend)(const int32_t *, const int32_t *, pair, size_t, uint8_t *) = cv2_blend;
#ifdef AVX2
    if (__builtin_cpu_supports("avx2")) blend = cv2_blend_avx2;
#endif
    pair *across = malloc(sizeof(pair) * crop);
    int32_t *values = malloc(2 * length * sizeof(int32_t));
    int failed = !across || !values;
    for (int x = 0; !failed && x < task->crop; x++)
        across[x] = make_pair(task->width, task->resized_width, task->left + x, 1);
    cv2_rows kept = {{-1, -1}, {values, values ? values + length : NULL}};
    for (int y = 0; !failed && y < task->crop; y++) {
        pair p = make_pair(task->height, task->resized_height, task->top + y, 0);
        const int32_t *one = cv2_fetch(&kept, p.before, p.after, task, across);
        const int32_t *two = cv2_fetch(&kept, p.after, p.before, task, across);
        blend(one, two, p, length, out + (size_t)y * length);
    }
    free(across);
    free(values);
    return -failed;
}

int fleetnet_resample(const fleetnet_task *task, fleetnet_filter filter, uint8_t *out) {
    if (filter == FLEETNET_CV2_LINEAR) return cv2_linear(task, out);
    return antialiased(task, filter, out);
}

int fleetnet_is_sound(const fleetnet_task *task, fleetnet_filter filter) {
    const float *box = task->box;
    int sizes[] = {task->width, task->height, task->resized_width, task->resized_height, task->crop};
    for (int i = 0; i < 5; i++)
        if (sizes[i] < 1 || sizes[i] > FLEETNET_MAX_SIDE) return 0;
    int boxed = box[0] >= 0 && box[0] < box[2] && box[2] <= (float)task->width && box[1] >= 0 &&
                box[1] < box[3] && box[3] <= (float)task->height;
    int cropped = task->left >= 0 && task->left <= task->resized_width - task->crop &&
                  task->top >= 0 && task->top <= task->resized_height - task->crop;
    return boxed && cropped && filter >= FLEETNET_BILINEAR && filter <= FLEETNET_CV2_LINEAR;
}
