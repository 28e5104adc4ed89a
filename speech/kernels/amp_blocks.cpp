// AMP blocks (BigVGAN) and their alias-free activation on a CPU: the arithmetic of speech/modules/{snake,resblocks}.py, in
// tiles of time that stay in the cache. Built by build.py, called by amp_blocks.py: C functions without Python or torch, whose
// threads are the caller's (teams.py), so that no C++ library is needed.
// The activation is polyphase: of the doubled signal u, even samples e[n] = u[2n] and odd ones o[n] = u[2n + 1] are kept
// apart, so that both filters are six shifted multiply-adds per phase and no vector is ever shuffled:
//   e[n] = 2 sum_j h[2j + 1] x[n + 2 - j]      o[n] = 2 sum_j h[2j] x[n + 3 - j]
//   y[n] = sum_j h[2j + 1] s(e[n - 2 + j]) + sum_j h[2j] s(o[n - 3 + j])          s(v) = v + sin(a v)^2 / b
// Convolutions hold OUT_ROWS x TIME_VECTORS sums in registers. Weights come packed [group][C in][tap][OUT_ROWS] (amp_blocks.py).
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif
#ifdef _WIN32
#define EXPORT extern "C" __declspec(dllexport)
extern "C" __declspec(dllimport) int __stdcall SwitchToThread();
static void let_others_run() { SwitchToThread(); }
#else
#include <sched.h>
#define EXPORT extern "C" __attribute__((visibility("default")))
static void let_others_run() { sched_yield(); }
#endif
#if defined(__AVX512F__)
constexpr int LANES = 16, OUT_ROWS = 8;
#elif defined(__AVX__)
constexpr int LANES = 8, OUT_ROWS = 4;  // 16 registers
#else
constexpr int LANES = 4, OUT_ROWS = 4;
#endif
template <class T> static inline T least(T a, T b) { return a < b ? a : b; }
template <class T> static inline T most(T a, T b) { return a < b ? b : a; }
template <class T> struct Same { typedef T type; };
template <class T> static inline void fill(T* from, T* to, typename Same<T>::type value) { for (; from < to; ++from) *from = value; }

constexpr int TIME_VECTORS = 3;
constexpr int REACH = 5;          // samples that the activation looks at on each side
constexpr int MARGIN = 2 * TIME_VECTORS * LANES + 32;  // what vectors may write or read behind the end of a row
typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef Vector LooseVector __attribute__((aligned(4), may_alias));

static inline Vector load(const float* p) { return *(const LooseVector*)p; }
static inline void store(float* p, Vector v) { *(LooseVector*)p = v; }

struct Taps { float odd[6], even[6]; };  // h[2j + 1] and h[2j]

constexpr int MAX_ROUNDS = 8;
// exp(alpha) / pi, 1 / (exp(beta) + 1e-9), and what bf16 is rounded relative to (itself a bf16; amp_blocks.py); [C]
struct Activation { const float *turns, *inverse_beta, *rest; };
struct Round { Activation first, second; const void *weight1, *weight2; const float *bias1, *bias2; int32_t dilation, bf16; };
struct Block { const Round* rounds; int32_t n_rounds, kernel; };

// ---- threads that work on one tile together; a team of one needs no barrier -------------------------------------------
struct Team {
    int size, arrived, turn;
    void wait() {
        if (size == 1) return;
        const int mine = __atomic_load_n(&turn, __ATOMIC_ACQUIRE);
        if (__atomic_add_fetch(&arrived, 1, __ATOMIC_ACQ_REL) == size) {
            __atomic_store_n(&arrived, 0, __ATOMIC_RELAXED);
            __atomic_store_n(&turn, mine + 1, __ATOMIC_RELEASE);
        } else
            for (int spins = 0; __atomic_load_n(&turn, __ATOMIC_ACQUIRE) == mine; ++spins) if (spins > 2000) let_others_run();
    }
};
struct Range { int64_t begin, end; };
static Range share(Range all, int rank, int size, int64_t multiple) {  // the rank-th of `size` parts, cut at multiples
    int64_t pieces = (all.end - all.begin + multiple - 1) / multiple;
    return {least(all.end, all.begin + pieces * rank / size * multiple),
            least(all.end, all.begin + pieces * (rank + 1) / size * multiple)};
}

// ---- the activation -----------------------------------------------------------------------------------------------------
// x + sin^2(alpha x) / beta, for turns = alpha / pi: of the half turns that x stands for the rest, and a minimax polynomial of
// sin^2(pi r) in r^2 on [-1/2, 1/2], within 2e-7.
static inline Vector snake(Vector x, float turns, float inverse_beta) {
    const float round = 12582912.f;  // 1.5 * 2^23: adding it rounds to a whole number
    Vector a = x * turns;
    Vector r = a - ((a + round) - round);
    Vector s = r * r;
    Vector p = s * -3.27294589f + 12.9907303f;
    p = p * s - 30.0859528f;
    p = p * s + 42.7253838f;
    p = p * s - 32.4695816f;
    p = p * s + 9.86960316f;
    return x + p * (s * inverse_beta);
}

// Row x -> even and odd phases after the snake, for n in `range` widened by 3, x and the phases indexed by time. What the
// filters read outside the signal [0, length) is filled in, in x as well.
static void phases(float* x, float* even, float* odd, Range range, int64_t length, const Taps& taps, float turns, float inverse_beta) {
    if (range.begin < REACH) fill(x - REACH, x, x[0]);
    if (range.end > length - REACH) fill(x + length, x + length + REACH, x[length - 1]);
    for (int64_t n = range.begin - 3; n < range.end + 3; n += LANES) {
        Vector e = load(x + n + 2) * taps.odd[0], o = load(x + n + 3) * taps.even[0];
        for (int j = 1; j < 6; ++j) {
            e += load(x + n + 2 - j) * taps.odd[j];
            o += load(x + n + 3 - j) * taps.even[j];
        }
        store(even + n, snake(e + e, turns, inverse_beta));
        store(odd + n, snake(o + o, turns, inverse_beta));
    }
    if (range.begin < 3) { fill(even - 3, even, even[0]); fill(odd - 3, odd, even[0]); }
    if (range.end > length - 3) {
        fill(even + length, even + length + 3, odd[length - 1]);
        fill(odd + length, odd + length + 3, odd[length - 1]);
    }
}
static inline Vector down(const float* even, const float* odd, const Taps& taps) {
    Vector y = load(even - 2) * taps.odd[0] + load(odd - 3) * taps.even[0];
    for (int j = 1; j < 6; ++j) y += load(even - 2 + j) * taps.odd[j] + load(odd - 3 + j) * taps.even[j];
    return y;
}

// ---- number types of a convolution's input: float, or pairs of bf16 of two channels at one time --------------------------
struct Float {
    typedef float Cell;
    static constexpr int channels = 1;
    static Vector cell(const Cell* p) { return load(p); }
    static Vector multiply_add(Vector sum, Vector x, const Cell* weight) { return sum + x * *weight; }
    static void put(Cell* p, const Vector* y, const float*) { store(p, y[0]); }
    static Cell padding(const float*) { return 0.f; }
};
#ifdef __AVX512BF16__
struct BFloat16 {
    typedef uint32_t Cell;
    static constexpr int channels = 2;
    static Vector cell(const Cell* p) { return load((const float*)p); }
    static Vector multiply_add(Vector sum, Vector x, const Cell* weight) {
        return (Vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)x, (__m512bh)_mm512_set1_epi32(*weight));
    }
    // The distance from `rest`, whose own product is part of the bias.
    static void put(Cell* p, const Vector* y, const float* rest) {
        __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)(y[0] - rest[0])));
        __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)(y[1] - rest[1])));
        _mm512_storeu_si512(p, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    }
    static Cell padding(const float* rest) {  // the distance of a zero
        const float zeros[2] = {0.f - rest[0], 0.f - rest[1]};
        uint16_t halves[4];
        memcpy(halves, zeros, sizeof zeros);
        return halves[1] | (uint32_t)halves[3] << 16;
    }
};
#endif

// out[row][t] = bias (+ out[row][t]) + sum over cells and taps, for OUT_ROWS rows and N vectors of time.
template <class Type, int N, bool add>
static void convolve(float* out, int64_t out_stride, const typename Type::Cell* x, int64_t stride, int cells, int kernel,
                     int64_t dilation, const typename Type::Cell* weight, const float* bias) {
    Vector sums[OUT_ROWS][N];
#pragma GCC unroll 8
    for (int row = 0; row < OUT_ROWS; ++row)
#pragma GCC unroll 3
        for (int i = 0; i < N; ++i) {
            sums[row][i] = Vector{} + bias[row];
            if (add) sums[row][i] += load(out + row * out_stride + i * LANES);
        }
    for (int cell = 0; cell < cells; ++cell, x += stride)
        for (int tap = 0; tap < kernel; ++tap, weight += OUT_ROWS) {
            Vector inputs[N];
#pragma GCC unroll 3
            for (int i = 0; i < N; ++i) inputs[i] = Type::cell(x + tap * dilation + i * LANES);
#pragma GCC unroll 8
            for (int row = 0; row < OUT_ROWS; ++row)
#pragma GCC unroll 3
                for (int i = 0; i < N; ++i) sums[row][i] = Type::multiply_add(sums[row][i], inputs[i], weight + row);
        }
#pragma GCC unroll 8
    for (int row = 0; row < OUT_ROWS; ++row)
#pragma GCC unroll 3
        for (int i = 0; i < N; ++i) store(out + row * out_stride + i * LANES, sums[row][i]);
}

// ---- one tile of one block ------------------------------------------------------------------------------------------------
struct Shape { int channels, padded; int64_t length, stride; };

struct Tile {
    Shape shape;
    int64_t origin;  // time of a row's first sample
    float *x, *y;    // [padded][stride]
    uint32_t* cells; // [padded / Type::channels][stride], floats or pairs
    const Taps* taps;
    Team* team;

    float* row(float* rows, int channel) const { return rows + channel * shape.stride - origin; }

    // Activation of `range` from rows of x or y into the cells, zeros around it as the convolution's padding. In pieces of time, whose
    // phases stay in the first-level cache.
    template <class Type> void activate(float* rows, Activation activation, Range range, int64_t padding, int rank) {
        constexpr int64_t PIECE = 512, SPAN = PIECE + 4 * LANES;
        float scratch[2 * Type::channels * SPAN];
        Range mine = share({0, shape.channels}, rank, team->size, 2);
        for (int64_t channel = mine.begin; channel < mine.end; channel += Type::channels) {
            int of[Type::channels];
            float rest[Type::channels];
            for (int i = 0; i < Type::channels; ++i) {
                of[i] = least<int>(channel + i, shape.channels - 1);  // an odd last channel meets zero weights
                rest[i] = activation.rest[of[i]];
            }
            auto* out = (typename Type::Cell*)cells + channel / Type::channels * shape.stride - origin;
            for (int64_t begin = range.begin; begin < range.end; begin += PIECE) {
                const Range piece{begin, least(begin + PIECE, range.end)};
                float *even[Type::channels], *odd[Type::channels];
                for (int i = 0; i < Type::channels; ++i) {
                    even[i] = scratch + 2 * i * SPAN + LANES - begin;
                    odd[i] = even[i] + SPAN;
                    phases(row(rows, of[i]), even[i], odd[i], piece, shape.length, *taps, activation.turns[of[i]], activation.inverse_beta[of[i]]);
                }
                for (int64_t n = begin; n < piece.end; n += LANES) {
                    Vector values[Type::channels];
                    for (int i = 0; i < Type::channels; ++i) values[i] = down(even[i] + n, odd[i] + n, *taps);
                    Type::put(out + n, values, rest);
                }
            }
            const auto zero = Type::padding(rest);
            if (range.begin == 0) fill(out - padding, out, zero);
            if (range.end == shape.length) fill(out + shape.length, out + shape.length + padding + MARGIN / 2, zero);
        }
        // Channels that only fill up a group have zero weights; what another round left there could still be no number.
        if (rank == 0)
            for (int row = (shape.channels + Type::channels - 1) / Type::channels; row < shape.padded / Type::channels; ++row) {
                auto* out = (typename Type::Cell*)cells + row * shape.stride - origin;
                fill(out + range.begin - padding, out + range.end + padding + MARGIN / 2, {});
            }
        team->wait();
    }

    template <class Type, bool add>
    void convolve_all(float* rows, const void* weight, const float* bias, int kernel, int64_t dilation, Range range, int rank) {
        typedef typename Type::Cell Cell;
        const int n_cells = shape.padded / Type::channels;
        const int64_t block = TIME_VECTORS * LANES, half = (kernel - 1) / 2 * dilation;
        Range mine = share(range, rank, team->size, block);
        for (int64_t n = mine.begin; n < mine.end; n += block) {
            const Cell* from = (const Cell*)cells + n - origin - half;
            int64_t vectors = (mine.end - n + LANES - 1) / LANES;
            for (int group = 0; group < shape.padded; group += OUT_ROWS) {
                const Cell* packed = (const Cell*)weight + (int64_t)group * n_cells * kernel;
                float* to = row(rows, group) + n;
                auto run = vectors >= 3 ? convolve<Type, 3, add> : vectors == 2 ? convolve<Type, 2, add> : convolve<Type, 1, add>;
                run(to, shape.stride, from, shape.stride, n_cells, kernel, dilation, packed, bias + group);
            }
        }
        team->wait();
    }

    // x += conv2(act2(conv1(act1(x)))): the activations over `first` and `second`, x over `after`.
    template <class Type>
    void run_round(const Round& round, int kernel, Range first, Range second, Range after, int rank) {
        const int64_t half = (kernel - 1) / 2;
        const Range between{most<int64_t>(0, second.begin - REACH), least(shape.length, second.end + REACH)};
        activate<Type>(x, round.first, first, half * round.dilation, rank);
        convolve_all<Type, false>(y, round.weight1, round.bias1, kernel, round.dilation, between, rank);
        activate<Type>(y, round.second, second, half, rank);
        convolve_all<Type, true>(x, round.weight2, round.bias2, kernel, 1, after, rank);
    }

    // out[t in range] = scale * (out or 0 + block(input)).
    void run(const Block& block, const float* input, float* out, int64_t row_length, Range range, bool first, float scale, int rank) {
        Range needs[2 * MAX_ROUNDS];  // of x before each round, of y in each round
        auto widen = [&](Range r, int64_t by) { return Range{most<int64_t>(0, r.begin - by), least(shape.length, r.end + by)}; };
        const int64_t half = (block.kernel - 1) / 2;
        Range need = range;
        for (int i = block.n_rounds - 1; i >= 0; --i) {
            needs[2 * i + 1] = widen(need, half);                                          // activated y
            need = widen(needs[2 * i + 1], REACH);                                         // y
            needs[2 * i] = widen(need, half * block.rounds[i].dilation);                   // activated x
            need = widen(needs[2 * i], REACH);                                             // x
        }
        Range mine = share({0, shape.channels}, rank, team->size, 2);
        for (int64_t c = mine.begin; c < mine.end; ++c)
            memcpy(row(x, c) + need.begin, input + c * row_length + need.begin, sizeof(float) * (need.end - need.begin));
        // each thread goes on with the channels it copied: no barrier
        for (int i = 0; i < block.n_rounds; ++i) {
            const Round& round = block.rounds[i];
            Range after = i + 1 < block.n_rounds ? widen(needs[2 * i + 2], REACH) : range;
#ifdef __AVX512BF16__
            if (round.bf16) {
                run_round<BFloat16>(round, block.kernel, needs[2 * i], needs[2 * i + 1], after, rank);
                continue;
            }
#endif
            run_round<Float>(round, block.kernel, needs[2 * i], needs[2 * i + 1], after, rank);
        }
        for (int64_t c = mine.begin; c < mine.end; ++c) {
            float *to = out + c * row_length, *from = row(x, c);
            if (first) for (int64_t n = range.begin; n < range.end; ++n) to[n] = from[n] * scale;
            else for (int64_t n = range.begin; n < range.end; ++n) to[n] += from[n] * scale;
        }
        team->wait();  // before the next block overwrites x
    }
};

// ---- a call: what all its threads know --------------------------------------------------------------------------------
struct Call {
    float* out;
    const float* x;
    const int64_t* lengths;  // [batch] or null
    const Block* blocks;
    int64_t batch, length, tile, tiles, reach;
    int32_t n_blocks, threads, together;
    Shape shape;
    Taps taps;
    Team all;
    int64_t next;
    float* rows;  // of every set of tiles: x, y
    uint32_t* cells;
};

static Taps split(const float* filter) {
    Taps taps;
    for (int j = 0; j < 6; ++j) { taps.odd[j] = filter[2 * j + 1]; taps.even[j] = filter[2 * j]; }
    return taps;
}

EXPORT void blocks_run(void* started, int32_t rank, int32_t size_of_team) {
    Call& call = *(Call*)started;
    __atomic_store_n(&call.all.size, size_of_team, __ATOMIC_RELAXED);  // the same by each of them, before it waits for the others
    Team alone{1, 0, 0};
    const bool together = call.together;
    const int64_t size = call.shape.padded * call.shape.stride, set = together ? 0 : rank;
    for (int64_t i = -1;;) {
        i = together ? i + 1 : __atomic_fetch_add(&call.next, 1, __ATOMIC_RELAXED);
        if (i >= call.tiles * call.batch) return;
        const int64_t b = i / call.tiles, begin = i % call.tiles * call.tile, row = call.shape.channels * call.length;
        Shape shape = call.shape;
        shape.length = call.lengths ? call.lengths[b] : call.length;
        const Range range{begin, least(begin + call.tile, shape.length)};
        if (range.begin < range.end) {
            Tile tile{shape, begin - call.reach - REACH - 16, call.rows + set * 2 * size, call.rows + (set * 2 + 1) * size,
                            call.cells + set * size, &call.taps, together ? &call.all : &alone};
            for (int k = 0; k < call.n_blocks; ++k)
                tile.run(call.blocks[k], call.x + b * row, call.out + b * row, call.length, range, k == 0, 1.f / call.n_blocks, together ? rank : 0);
        }
        const int64_t silent = most(range.begin, range.end), end = least(begin + call.tile, call.length);
        if (silent < end && (!together || rank == 0))
            for (float *to = call.out + b * row; to < call.out + (b + 1) * row; to += call.length) fill(to + silent, to + end, 0.f);
    }
}

EXPORT int32_t out_rows() { return OUT_ROWS; }
EXPORT int32_t max_rounds() { return MAX_ROUNDS; }
#ifdef __AVX512BF16__
EXPORT int32_t has_bf16() { return 1; }
#else
EXPORT int32_t has_bf16() { return 0; }
#endif

EXPORT void blocks_end(void* started) {
    Call* call = (Call*)started;
    free(call->rows), free(call->cells), free(call);
}

// The mean of the blocks takes three calls: `blocks_begin`; `blocks_run` by each of at most `threads` threads at the same time,
// with ranks 0, 1, ... and their number; `blocks_end`. out, x [batch][channels][length]; lengths [batch] of valid samples or null; filter: the 12
// taps. Returns null if there is not enough memory.
EXPORT void* blocks_begin(float* out, const float* x, int64_t batch, int32_t channels, int64_t length, const int64_t* lengths,
                          const Block* blocks, int32_t n_blocks, const float* filter, int64_t tile, int32_t threads) {
    Call* call = (Call*)calloc(1, sizeof(Call));
    if (!call) return nullptr;
    for (int b = 0; b < n_blocks; ++b) {
        int64_t sum = 0;
        for (int i = 0; i < blocks[b].n_rounds; ++i)
            sum += (blocks[b].kernel - 1) / 2 * (1 + blocks[b].rounds[i].dilation) + 2 * REACH;
        call->reach = most(call->reach, sum);
    }
    call->out = out, call->x = x, call->lengths = lengths, call->blocks = blocks, call->taps = split(filter);
    call->batch = batch, call->length = length, call->n_blocks = n_blocks, call->threads = threads;
    call->tile = least(tile, length);
    call->tiles = (length + call->tile - 1) / call->tile;
    // All on one tile where tiles would be too few; else each thread on its own tiles.
    call->together = threads > 1 && call->tiles * batch < 2 * threads;
    const int64_t span = call->tile + 2 * (call->reach + REACH) + 2 * MARGIN;
    // An odd multiple of 64 bytes, so that rows do not meet in one set of the cache.
    call->shape = Shape{channels, (channels + OUT_ROWS - 1) / OUT_ROWS * OUT_ROWS, 0, (span + 31) / 32 * 32 + 16};
    const int64_t size = call->shape.padded * call->shape.stride, sets = call->together ? 1 : threads;
    call->rows = (float*)calloc(sets * 2 * size, 4);
    call->cells = (uint32_t*)calloc(sets * size, 4);
    if (call->rows && call->cells) return call;
    blocks_end(call);
    return nullptr;
}

constexpr int MOST_TAPS = 33;  // half of them fit before a row
EXPORT int32_t most_taps() { return MOST_TAPS; }
struct ActivationCall {
    float* out;
    const float* x;
    int64_t batch, channels, length;
    const int64_t* lengths;
    const float *turns, *inverse_beta, *filter;
    const float* weight;  // of a convolution behind it, [channels][kernel], or null
    int64_t kernel;       // odd, MOST_TAPS at most
};
// Row x of `valid` samples -> its activation in `range`, at its times in the row that is returned. `buffer`: 4 * span.
static float* activated(float* buffer, int64_t span, const float* x, Range range, int64_t valid, const Taps& taps, float turns, float inverse_beta) {
    float *in = buffer + 16 - range.begin, *even = in + span, *odd = even + span, *y = odd + span;
    const int64_t from = most<int64_t>(0, range.begin - REACH), upto = least(valid, range.end + REACH);
    memcpy(in + from, x + from, sizeof(float) * (upto - from));
    phases(in, even, odd, range, valid, taps, turns, inverse_beta);
    for (int64_t n = range.begin; n < range.end; n += LANES) store(y + n, down(even + n, odd + n, taps));
    return y;
}
// The activation alone, [batch][channels][length], in pieces of rows; called by each of `threads` threads with its rank.
EXPORT void activation(const ActivationCall* call, int32_t rank, int32_t threads) {
    constexpr int64_t PIECE = 2048, SPAN = PIECE + 2 * MARGIN;
    const ActivationCall& a = *call;
    const Taps taps = split(a.filter);
    const int64_t pieces = (a.length + PIECE - 1) / PIECE;
    const Range mine = share({0, a.batch * a.channels * pieces}, rank, threads, 1);
    float buffer[4 * SPAN];
    for (int64_t i = mine.begin; i < mine.end; ++i) {
        const int64_t line = i / pieces, begin = i % pieces * PIECE, valid = a.lengths ? a.lengths[line / a.channels] : a.length;
        const Range range{begin, least(begin + PIECE, valid)};
        const int c = line % a.channels;
        float* to = a.out + line * a.length;
        if (range.begin < range.end) {
            const float* y = activated(buffer, SPAN, a.x + line * a.length, range, valid, taps, a.turns[c], a.inverse_beta[c]);
            memcpy(to + begin, y + begin, sizeof(float) * (range.end - begin));
        }
        const int64_t silent = most(range.begin, range.end), end = least(begin + PIECE, a.length);
        if (silent < end) fill(to + silent, to + end, 0.f);
    }
}
// The activation and the convolution to one channel behind it, [batch][length]: nothing of all channels is stored.
EXPORT void activation_into_one(const ActivationCall* call, int32_t rank, int32_t threads) {
    constexpr int64_t PIECE = 1024, SPAN = PIECE + 4 * MARGIN;
    const ActivationCall& a = *call;
    const Taps taps = split(a.filter);
    const int64_t pieces = (a.length + PIECE - 1) / PIECE, half = a.kernel / 2;
    const Range mine = share({0, a.batch * pieces}, rank, threads, 1);
    float buffer[4 * SPAN], sums[PIECE + LANES];
    for (int64_t i = mine.begin; i < mine.end; ++i) {
        const int64_t b = i / pieces, begin = i % pieces * PIECE, valid = a.lengths ? a.lengths[b] : a.length;
        const Range range{begin, least(begin + PIECE, valid)};
        const Range wide{most<int64_t>(0, begin - half), least(valid, begin + PIECE + half)};
        float* to = a.out + b * a.length;
        if (range.begin < range.end) {
            fill(sums, sums + PIECE + LANES, 0.f);
            for (int64_t c = 0; c < a.channels; ++c) {
                float* y = activated(buffer, SPAN, a.x + (b * a.channels + c) * a.length, wide, valid, taps, a.turns[c], a.inverse_beta[c]);
                if (wide.begin == 0) fill(y - half, y, 0.f);
                if (wide.end == valid) fill(y + valid, y + valid + half, 0.f);
                const float* weight = a.weight + c * a.kernel;
                for (int64_t n = 0; n < range.end - begin; n += LANES) {
                    Vector sum = load(sums + n);
                    for (int64_t tap = 0; tap < a.kernel; ++tap) sum += load(y + begin + n + tap - half) * weight[tap];
                    store(sums + n, sum);
                }
            }
            memcpy(to + begin, sums, sizeof(float) * (range.end - begin));
        }
        const int64_t silent = most(range.begin, range.end), end = least(begin + PIECE, a.length);
        if (silent < end) fill(to + silent, to + end, 0.f);
    }
}

// ---- transposed convolutions --------------------------------------------------------------------------------------------
// Of each of `rate` phases an ordinary convolution of `taps` taps: out[rate n + r] = bias + sum_j x[n - j] w[rate j + r + padding], whose
// first j is -((r + padding) / rate). weight: [rate][outputs / OUT_ROWS][inputs][taps][OUT_ROWS], latest j first, zeros for lack of others.
struct UpsamplingCall {
    float* out;
    const float* x;
    int64_t batch, inputs, outputs, length, rate, padding, taps, piece;
    const float *weight, *bias;
    float* rows;     // [threads][inputs][stride] to work in
    int64_t stride;  // at least piece + 2 taps + BLOCK
};
constexpr int BLOCK = TIME_VECTORS * LANES;
EXPORT int32_t block_samples() { return BLOCK; }
EXPORT void upsampling(const UpsamplingCall* call, int32_t rank, int32_t threads) {
    const UpsamplingCall& a = *call;
    const int64_t stride = a.stride, pieces = (a.length + a.piece - 1) / a.piece;
    const int64_t groups = (a.outputs + OUT_ROWS - 1) / OUT_ROWS;
    float* rows = a.rows + rank * a.inputs * stride;
    float made[OUT_ROWS * BLOCK];
    const Range mine = share({0, a.batch * pieces}, rank, threads, 1);
    for (int64_t i = mine.begin; i < mine.end; ++i) {
        const int64_t b = i / pieces, begin = i % pieces * a.piece, end = least(begin + a.piece, a.length);
        const int64_t from = most<int64_t>(0, begin - a.taps), upto = least(a.length, end + a.taps);
        for (int64_t c = 0; c < a.inputs; ++c) {
            float* row = rows + c * stride + a.taps - begin;
            fill(row + begin - a.taps, row + from, 0.f);
            memcpy(row + from, a.x + (b * a.inputs + c) * a.length + from, sizeof(float) * (upto - from));
            fill(row + upto, rows + (c + 1) * stride, 0.f);
        }
        const float* weight = a.weight;
        for (int64_t r = 0; r < a.rate; ++r)
            for (int64_t group = 0; group < groups; ++group, weight += a.inputs * a.taps * OUT_ROWS) {
                const float* input = rows + a.taps - begin + (r + a.padding) / a.rate - (a.taps - 1);
                const int64_t full = least<int64_t>(OUT_ROWS, a.outputs - group * OUT_ROWS);
                for (int64_t n = begin; n < end; n += BLOCK) {
                    const int64_t count = least<int64_t>(BLOCK, end - n), vectors = (count + LANES - 1) / LANES;
                    auto run = vectors >= 3 ? convolve<Float, 3, false> : vectors == 2 ? convolve<Float, 2, false> : convolve<Float, 1, false>;
                    run(made, BLOCK, input + n, stride, a.inputs, a.taps, 1, weight, a.bias + group * OUT_ROWS);
                    for (int64_t o = 0; o < full; ++o) {
                        float* to = a.out + ((b * a.outputs + group * OUT_ROWS + o) * a.length + n) * a.rate + r;
                        for (int64_t t = 0; t < count; ++t) to[t * a.rate] = made[o * BLOCK + t];
                    }
                }
            }
    }
}

// ---- somebody else's threads --------------------------------------------------------------------------------------------
struct Job { void (*work)(void*, int32_t, int32_t); void* call; int (*size)(); int32_t ranks; };
static void take_part(void* given) {
    Job& job = *(Job*)given;
    job.work(job.call, __atomic_fetch_add(&job.ranks, 1, __ATOMIC_RELAXED), job.size());
}
// work(call, rank, size) by the threads of an OpenMP that the caller knows: `parallel` is its GOMP_parallel, `size` its
// omp_get_num_threads. It may give fewer than `threads`.
EXPORT void in_team(void (*parallel)(void (*)(void*), void*, unsigned, unsigned), int (*size)(), int32_t threads,
                    void (*work)(void*, int32_t, int32_t), void* call) {
    Job job{work, call, size, 0};
    parallel(take_part, &job, threads, 0);
}
