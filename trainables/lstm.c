/* The LSTM, compiled: a pass over many reviews (`pooled_states`), and a training batch forward and backward through time.

   Both are built on one tile: the gates of LANES units of TILE reviews, held in registers while a matrix product is added to them. The
   sums of a review are made in an order that does not depend on its neighbours: its result is the same, bit for bit, whatever is
   computed beside it. Reviews come longest first; one that has ended drops out, so no padding is ever computed.

   A pass: the caller has projected the vocabulary (a table row per word type holds W_input x + biases), so a token costs one lookup and
   one product of its review's state with the recurrent weights. In training every review has its own input masks, so there each token's
   input is multiplied too.

   Gates come scaled: i, f and o by -log2(e), g by -2 log2(e), so that sigmoid(x) = 1 / (1 + 2^i) and tanh(x) = (1 - 2^g) / (1 + 2^g).
   Gradients are those with respect to the scaled gates.

   float32: all of it. bfloat16: what enters a product (weights, inputs, states, gradients of gates) is rounded to bfloat16; products are
   summed, and gates and cells held, in float32. A processor without bfloat16 products computes the same from rounded float32 numbers,
   slower. Operand: a number as it enters a product; uint16_t where bfloat16 is native, else float.

   Letters: B reviews of a batch, L steps, E inputs and H units (both padded to a whole number of lanes), G = 4 H gates, K the width of a
   product. Layouts, with U = H / LANES groups of units: gates are (U, 4, LANES); weights (U, K, 4, LANES), or (U, K / 2, 4, LANES, 2) in
   native bfloat16.
*/
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__AVX512F__)
#include <immintrin.h>
#define LANES 16
#define TILE 6 /* 6 x 4 sums, 4 weights and a state fill the 32 registers */
#elif defined(__AVX__)
#define LANES 8
#define TILE 3
#else
#define LANES 4
#define TILE 6
#endif
#if defined(__AVX512BF16__)
#define NATIVE_BFLOAT16 1
#else
#define NATIVE_BFLOAT16 0
#endif
#define BLOCK 48
#define GATES 4
#define INLINE static inline __attribute__((always_inline))

typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef int32_t Bits __attribute__((vector_size(4 * LANES)));
typedef float Stored __attribute__((vector_size(4 * LANES), aligned(4)));

enum precision { FLOAT32, BFLOAT16 };
enum pooling { MEAN, LAST, MAX };

int lanes(void) { return LANES; }
int native_bfloat16(void) { return NATIVE_BFLOAT16; }

INLINE Vector load(const float *from) { return *(const Stored *)from; }
INLINE void store(float *to, Vector x) { *(Stored *)to = x; }
#if !defined(__AVX512F__)
INLINE Vector all(float x) { return x - (Vector){0}; }
#endif
INLINE Vector choose(Bits where, Vector x, Vector otherwise) { return (Vector)((where & (Bits)x) | (~where & (Bits)otherwise)); }

/* 2^40 and beyond are infinite for every gate, and products of three of them are finite. NaN stays NaN, and a gate that has overflowed
   becomes NaN, which the caller tells as an error. */
INLINE Vector at_most_40(Vector x) {
#if defined(__AVX512F__)
    return (Vector)_mm512_min_ps(_mm512_set1_ps(40.0f), (__m512)x);
#else
    return choose(x > all(40.0f), all(40.0f), x);
#endif
}

/* 2^x for x <= 40, with a relative error below 2e-7: the minimax polynomial of degree 6 on [-1/2, 1/2]. */
INLINE Vector exp2_of(Vector x) {
#if defined(__AVX512F__)
    Vector whole = (Vector)_mm512_roundscale_ps((__m512)x, 0);
#else
    x = choose(x < all(-126.0f), all(-126.0f), x);
    Vector shifted = x + 12582912.0f; /* 1.5 * 2^23: the fraction is rounded away, the last bits are the integer */
    Vector whole = shifted - 12582912.0f;
#endif
    Vector r = x - whole;
    Vector p = r * 1.534581179e-4f + 1.339993142e-3f;
    p = p * r + 9.618488960e-3f;
    p = p * r + 5.550328776e-2f;
    p = p * r + 2.402264689e-1f;
    p = p * r + 6.931472057e-1f;
    p = p * r + 1.0f;
#if defined(__AVX512F__)
    return (Vector)_mm512_scalef_ps((__m512)p, (__m512)whole);
#else
    return (Vector)((Bits)p + ((Bits)shifted << 23));
#endif
}

/* c' = sigmoid(f) c + sigmoid(i) tanh(g) and h = sigmoid(o) tanh(c'), with one division each. */
INLINE Vector next_state(const Vector gates[GATES], float *cell) {
    Vector i = 1.0f + exp2_of(at_most_40(gates[0]));
    Vector f = 1.0f + exp2_of(at_most_40(gates[1]));
    Vector g = exp2_of(at_most_40(gates[2]));
    Vector o = 1.0f + exp2_of(at_most_40(gates[3]));
    Vector input = i * (1.0f + g);
    Vector c = (load(cell) * input + (1.0f - g) * f) / (input * f);
    store(cell, c);
    Vector d = exp2_of(at_most_40(-2.88539008f * c));
    return (1.0f - d) / (o * (1.0f + d));
}

/* Bytes of an operand. */
static int64_t operand_size(enum precision precision) { return precision == BFLOAT16 && NATIVE_BFLOAT16 ? 2 : 4; }

INLINE void store_operand(enum precision precision, void *operands, int64_t at, Vector x) {
    if (precision == FLOAT32) {
        store((float *)operands + at, x);
        return;
    }
#if NATIVE_BFLOAT16
    __m256bh rounded = _mm512_cvtneps_pbh((__m512)x);
    memcpy((uint16_t *)operands + at, &rounded, sizeof rounded);
#else
    Bits bits = (Bits)x;
    Vector rounded = (Vector)((bits + 0x7fff + ((bits >> 16) & 1)) & ~0xffff);
    store((float *)operands + at, choose(x == x, rounded, x));
#endif
}

/* sums += weights x operands, for one group of the weights' rows and `rows` reviews of K operands each. */
INLINE void multiply(const int rows, enum precision precision, int64_t K, const void *weights, const void *operands, Vector sums[TILE][GATES]) {
#if NATIVE_BFLOAT16
    if (precision == BFLOAT16) {
        const uint16_t *w = weights, *x = operands;
        for (int64_t k = 0; k < K; k += 2, w += 2 * GATES * LANES) {
            __m512bh i = (__m512bh)_mm512_loadu_si512(w), f = (__m512bh)_mm512_loadu_si512(w + 2 * LANES);
            __m512bh g = (__m512bh)_mm512_loadu_si512(w + 4 * LANES), o = (__m512bh)_mm512_loadu_si512(w + 6 * LANES);
            for (int r = 0; r < rows; r++) {
                int32_t two;
                memcpy(&two, x + r * K + k, sizeof two);
                __m512bh pair = (__m512bh)_mm512_set1_epi32(two);
                sums[r][0] = (Vector)_mm512_dpbf16_ps((__m512)sums[r][0], i, pair);
                sums[r][1] = (Vector)_mm512_dpbf16_ps((__m512)sums[r][1], f, pair);
                sums[r][2] = (Vector)_mm512_dpbf16_ps((__m512)sums[r][2], g, pair);
                sums[r][3] = (Vector)_mm512_dpbf16_ps((__m512)sums[r][3], o, pair);
            }
        }
        return;
    }
#else
    (void)precision; /* bfloat16 operands are float32 numbers here */
#endif
    const float *w = weights, *x = operands;
    for (int64_t k = 0; k < K; k++, w += GATES * LANES) {
        Vector i = load(w), f = load(w + LANES), g = load(w + 2 * LANES), o = load(w + 3 * LANES);
        for (int r = 0; r < rows; r++) {
            sums[r][0] += i * x[r * K + k];
            sums[r][1] += f * x[r * K + k];
            sums[r][2] += g * x[r * K + k];
            sums[r][3] += o * x[r * K + k];
        }
    }
}

/* Each size of tile is a function of its own: the compiler keeps a tile's sums in registers only where it sees one size at a time.
   EACH_SIZE defines them by a macro (precision, size), TABLE lists them as [precision][size - 1]. */
#if TILE == 6
#define EACH_SIZE(m) m(FLOAT32, 1) m(FLOAT32, 2) m(FLOAT32, 3) m(FLOAT32, 4) m(FLOAT32, 5) m(FLOAT32, 6) \
                     m(BFLOAT16, 1) m(BFLOAT16, 2) m(BFLOAT16, 3) m(BFLOAT16, 4) m(BFLOAT16, 5) m(BFLOAT16, 6)
#define TABLE(f) {{f##_FLOAT32_1, f##_FLOAT32_2, f##_FLOAT32_3, f##_FLOAT32_4, f##_FLOAT32_5, f##_FLOAT32_6}, \
                  {f##_BFLOAT16_1, f##_BFLOAT16_2, f##_BFLOAT16_3, f##_BFLOAT16_4, f##_BFLOAT16_5, f##_BFLOAT16_6}}
#else
#define EACH_SIZE(m) m(FLOAT32, 1) m(FLOAT32, 2) m(FLOAT32, 3) m(BFLOAT16, 1) m(BFLOAT16, 2) m(BFLOAT16, 3)
#define TABLE(f) {{f##_FLOAT32_1, f##_FLOAT32_2, f##_FLOAT32_3}, {f##_BFLOAT16_1, f##_BFLOAT16_2, f##_BFLOAT16_3}}
#endif

/* Which of a table's functions computes the next tile, of so many reviews that are left. */
INLINE int64_t next_size(int64_t left) { return (left < TILE ? left : TILE) - 1; }

/* ---- A pass over many reviews ---- */

typedef struct {
    enum precision precision;
    enum pooling pooling;
    int64_t H, operand;
    const float *table;
    const char *weights;
} Network;

typedef struct {
    const float *input[BLOCK]; /* table row of each review's token */
    char *states, *next_states;
    float *cells, *pooled;
} Block;

/* One time step of `rows` reviews from `first` on, for one group of units. */
INLINE void pass_tile(const int rows, enum precision precision, const Network *net, const Block *block, int64_t first, int64_t group) {
    const int64_t H = net->H, unit = group * LANES;
    Vector gates[TILE][GATES];
    for (int r = 0; r < rows; r++)
        for (int gate = 0; gate < GATES; gate++) gates[r][gate] = load(block->input[first + r] + GATES * unit + LANES * gate);
    multiply(rows, precision, H, net->weights + net->operand * GATES * H * unit, block->states + net->operand * first * H, gates);
    for (int r = 0; r < rows; r++) {
        const int64_t at = (first + r) * H + unit;
        Vector h = next_state(gates[r], block->cells + at), before = load(block->pooled + at);
        store_operand(precision, block->next_states, at, h);
        store(block->pooled + at, net->pooling == MEAN ? before + h : net->pooling == MAX ? choose(before > h, before, h) : h);
    }
}

#define PASS_TILE(precision, rows)                                                                                             \
    static void pass_##precision##_##rows(const Network *net, const Block *block, int64_t first, int64_t group) {              \
        pass_tile(rows, precision, net, block, first, group);                                                                  \
    }
EACH_SIZE(PASS_TILE)
static void (*const PASS_TILES[2][TILE])(const Network *, const Block *, int64_t, int64_t) = TABLE(pass);

/* One time step of all reviews that have not ended; the weights of a group stay in the first cache through all tiles. */
static void step(const Network *net, const Block *block, int64_t active) {
    for (int64_t group = 0; group < net->H / LANES; group++)
        for (int64_t first = 0; first < active; first += TILE)
            PASS_TILES[net->precision][next_size(active - first)](net, block, first, group);
}

/* Fetches the table row that a review reads next: rows of frequent words stay in the cache, the others would be waited for. */
INLINE void prefetch(const float *row, int64_t H) {
    for (int64_t at = 0; at < GATES * H; at += 16) __builtin_prefetch(row + at, 0, 2);
}

static void run_block(const Network *net, Block *block, int64_t size, const int64_t *rows, const int32_t *token_ids, int64_t max_tokens,
                      const int32_t *lengths) {
    int64_t active = size;
    for (int64_t t = 0;; t++) {
        while (active && lengths[rows[active - 1]] <= t) active--;
        if (!active) return;
        for (int64_t r = 0; r < active; r++) {
            const int32_t *token = token_ids + rows[r] * max_tokens + t;
            block->input[r] = net->table + token[0] * GATES * net->H;
            if (t + 1 < lengths[rows[r]]) prefetch(net->table + token[1] * GATES * net->H, net->H);
        }
        step(net, block, active);
        char *swapped = block->states;
        block->states = block->next_states;
        block->next_states = swapped;
    }
}

/* Pooled states (size, H) of the reviews `rows`, longest first; returns 0, or 1 if there was no memory. */
int pooled_states(int precision, int pooling, int64_t H, const float *table, const void *weights, int64_t size, const int64_t *rows,
                  const int32_t *token_ids, int64_t max_tokens, const int32_t *lengths, float *pooled) {
    const Network net = {precision, pooling, H, operand_size(precision), table, weights};
    const int64_t bytes = 4 * BLOCK * H; /* a whole number of cache lines: BLOCK is */
    char *memory = aligned_alloc(64, 3 * bytes);
    if (!memory) return 1;
    for (int64_t first = 0; first < size; first += BLOCK) {
        const int64_t here = size - first < BLOCK ? size - first : BLOCK;
        Block block = {.states = memory, .next_states = memory + bytes, .cells = (float *)(memory + 2 * bytes), .pooled = pooled + first * H};
        memset(memory, 0, 3 * bytes);
        for (int64_t at = 0; at < here * H; at++) block.pooled[at] = pooling == MAX ? -1.0f : 0.0f; /* states are within (-1, 1) */
        run_block(&net, &block, here, rows + first, token_ids, max_tokens, lengths);
        if (pooling != MEAN) continue;
        for (int64_t r = 0; r < here; r++)
            for (int64_t unit = 0; unit < H; unit++) block.pooled[r * H + unit] /= (float)lengths[rows[first + r]];
    }
    free(memory);
    return 0;
}

/* ---- A training batch, forward and backward through time ---- */

typedef struct {
    int64_t precision, L, B, E, H;
    const int32_t *lengths;       /* (B,), falling */
    const char *weights;          /* of K = E + H operands */
    const char *backward_weights; /* of K = G: the same transposed, its rows padded to groups of 4 LANES */
    const float *bias;            /* (G,) */
    char *operands;               /* (L + 1, B, E + H): each step's inputs, given, and the state before it */
    float *states, *cells;        /* (L, B, H); states are 0 where a review has ended */
    float *gates;                 /* (L, B, G): sigmoid of i, f and o, tanh of g */
    const float *state_gradients; /* (L, B, H), of the loss with respect to `states` */
    char *gate_gradients;         /* (L, B, G) operands; 0 where a review has ended */
    float *input_gradients;       /* (L, B, E), likewise */
    float *bias_gradients;        /* (G,) */
} Batch;

static int64_t active_at(const Batch *batch, int64_t t) {
    int64_t active = batch->B;
    while (active && batch->lengths[active - 1] <= t) active--;
    return active;
}

/* Zeros for the reviews that have ended at step t, in an array (L, B, width) of elements of `size` bytes. */
static void clear_ended(const Batch *batch, void *array, int64_t size, int64_t width, int64_t t, int64_t active) {
    memset((char *)array + size * width * (t * batch->B + active), 0, size * width * (batch->B - active));
}

/* One step of `rows` reviews from `first` on, for one group of units. */
INLINE void forward_tile(const int rows, enum precision precision, const Batch *batch, int64_t t, int64_t first, int64_t group) {
    const int64_t H = batch->H, K = batch->E + H, unit = group * LANES, row = t * batch->B + first, operand = operand_size(precision);
    Vector gates[TILE][GATES];
    for (int r = 0; r < rows; r++)
        for (int gate = 0; gate < GATES; gate++) gates[r][gate] = load(batch->bias + GATES * unit + LANES * gate);
    multiply(rows, precision, K, batch->weights + operand * GATES * K * unit, batch->operands + operand * row * K, gates);
    for (int r = 0; r < rows; r++) {
        const int64_t at = (row + r) * H + unit;
        Vector i = 1.0f / (1.0f + exp2_of(at_most_40(gates[r][0])));
        Vector f = 1.0f / (1.0f + exp2_of(at_most_40(gates[r][1])));
        Vector power = exp2_of(at_most_40(gates[r][2]));
        Vector g = (1.0f - power) / (1.0f + power);
        Vector o = 1.0f / (1.0f + exp2_of(at_most_40(gates[r][3])));
        Vector c = i * g;
        if (t) c += f * load(batch->cells + at - batch->B * H);
        power = exp2_of(at_most_40(-2.88539008f * c));
        Vector h = o * ((1.0f - power) / (1.0f + power));
        store(batch->gates + GATES * at, i);
        store(batch->gates + GATES * at + LANES, f);
        store(batch->gates + GATES * at + 2 * LANES, g);
        store(batch->gates + GATES * at + 3 * LANES, o);
        store(batch->cells + at, c);
        store(batch->states + at, h);
        store_operand(precision, batch->operands, (row + batch->B + r) * K + batch->E + unit, h);
    }
}

INLINE void gate_gradient(enum precision precision, const Batch *batch, int64_t at, int64_t in_bias, Vector gradient) {
    store_operand(precision, batch->gate_gradients, at, gradient);
    store(batch->bias_gradients + in_bias, load(batch->bias_gradients + in_bias) + gradient);
}

/* Gradients of LANES units' gates of a review at one step, from those of its state and its cell; the latter becomes that of the cell before. */
INLINE void gate_gradients(enum precision precision, const Batch *batch, int64_t t, int64_t r, int64_t unit, const float *later, float *cell_gradient) {
    const int64_t H = batch->H, at = (t * batch->B + r) * H + unit, in_bias = GATES * unit;
    const float *gates = batch->gates + GATES * at;
    Vector i = load(gates), f = load(gates + LANES), g = load(gates + 2 * LANES), o = load(gates + 3 * LANES);
    Vector c_before = t ? load(batch->cells + at - batch->B * H) : (Vector){0};
    Vector dh = load(batch->state_gradients + at) + load(later);
    Vector tanh_c = load(batch->states + at) / o; /* o is at least 2^-40 */
    Vector dc = load(cell_gradient) + dh * o * (1.0f - tanh_c * tanh_c);
    const float sigmoids = -0.693147181f, tanhs = 0.5f * sigmoids; /* gates are scaled: -1 / log2(e), -1 / (2 log2(e)) */
    gate_gradient(precision, batch, GATES * at, in_bias, sigmoids * dc * g * i * (1.0f - i));
    gate_gradient(precision, batch, GATES * at + LANES, in_bias + LANES, sigmoids * dc * c_before * f * (1.0f - f));
    gate_gradient(precision, batch, GATES * at + 2 * LANES, in_bias + 2 * LANES, tanhs * dc * i * (1.0f - g * g));
    gate_gradient(precision, batch, GATES * at + 3 * LANES, in_bias + 3 * LANES, sigmoids * dh * tanh_c * o * (1.0f - o));
    store(cell_gradient, dc * f);
}

/* What the gates of step t ask of 4 groups of its operands; (B, stride) into `to`. */
INLINE void backward_tile(const int rows, enum precision precision, const Batch *batch, int64_t t, int64_t first, int64_t group, float *to,
                          int64_t stride) {
    const int64_t G = GATES * batch->H, operand = operand_size(precision);
    Vector sums[TILE][GATES];
    for (int r = 0; r < rows; r++)
        for (int part = 0; part < GATES; part++) sums[r][part] = (Vector){0};
    multiply(rows, precision, G, batch->backward_weights + operand * G * GATES * LANES * group,
             batch->gate_gradients + operand * (t * batch->B + first) * G, sums);
    for (int r = 0; r < rows; r++)
        for (int part = 0; part < GATES; part++) store(to + (first + r) * stride + (GATES * group + part) * LANES, sums[r][part]);
}

#define TRAINING_TILES(precision, rows)                                                                                                 \
    static void forward_##precision##_##rows(const Batch *batch, int64_t t, int64_t first, int64_t group) {                             \
        forward_tile(rows, precision, batch, t, first, group);                                                                          \
    }                                                                                                                                   \
    static void backward_##precision##_##rows(const Batch *batch, int64_t t, int64_t first, int64_t group, float *to, int64_t stride) { \
        backward_tile(rows, precision, batch, t, first, group, to, stride);                                                             \
    }
EACH_SIZE(TRAINING_TILES)
static void (*const FORWARD_TILES[2][TILE])(const Batch *, int64_t, int64_t, int64_t) = TABLE(forward);
static void (*const BACKWARD_TILES[2][TILE])(const Batch *, int64_t, int64_t, int64_t, float *, int64_t) = TABLE(backward);

/* The state of a review before step t is zero. */
static void clear_operands(const Batch *batch, int64_t t, int64_t review) {
    const int64_t operand = operand_size(batch->precision), K = batch->E + batch->H;
    memset(batch->operands + operand * ((t * batch->B + review) * K + batch->E), 0, operand * batch->H);
}

/* Fills states, cells, gates and the states among the operands. */
void forward(const Batch *batch) {
    const int64_t H = batch->H;
    for (int64_t r = 0; r < batch->B; r++) clear_operands(batch, 0, r);
    for (int64_t t = 0; t < batch->L; t++) {
        const int64_t active = active_at(batch, t);
        for (int64_t group = 0; group < H / LANES; group++)
            for (int64_t first = 0; first < active; first += TILE)
                FORWARD_TILES[batch->precision][next_size(active - first)](batch, t, first, group);
        clear_ended(batch, batch->states, sizeof(float), H, t, active);
        for (int64_t r = active; r < batch->B; r++) clear_operands(batch, t + 1, r);
    }
}

/* Fills the gradients of gates, inputs and biases; returns 0, or 1 if there was no memory. */
int backward(const Batch *batch) {
    const int64_t H = batch->H, E = batch->E, B = batch->B, G = GATES * H, operand = operand_size(batch->precision);
    const int64_t groups = (H + E + GATES * LANES - 1) / (GATES * LANES), stride = groups * GATES * LANES;
    float *earlier = calloc(B * (stride + H), sizeof(float)), *cell_gradients = earlier + B * stride;
    if (!earlier) return 1;
    memset(batch->bias_gradients, 0, G * sizeof(float));
    for (int64_t t = batch->L - 1; t >= 0; t--) {
        const int64_t active = active_at(batch, t);
        for (int64_t r = 0; r < active; r++)
            for (int64_t unit = 0; unit < H; unit += LANES) {
                const float *later = earlier + r * stride + E + unit;
                if (batch->precision == BFLOAT16)
                    gate_gradients(BFLOAT16, batch, t, r, unit, later, cell_gradients + r * H + unit);
                else
                    gate_gradients(FLOAT32, batch, t, r, unit, later, cell_gradients + r * H + unit);
            }
        for (int64_t group = 0; group < groups; group++)
            for (int64_t first = 0; first < active; first += TILE)
                BACKWARD_TILES[batch->precision][next_size(active - first)](batch, t, first, group, earlier, stride);
        for (int64_t r = 0; r < active; r++)
            memcpy(batch->input_gradients + (t * B + r) * E, earlier + r * stride, E * sizeof(float));
        clear_ended(batch, batch->gate_gradients, operand, G, t, active);
        clear_ended(batch, batch->input_gradients, sizeof(float), E, t, active);
    }
    free(earlier);
    return 0;
}
