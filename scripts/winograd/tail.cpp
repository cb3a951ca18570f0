// The generator's end, a PReLU and a 9x9 convolution of 64 maps to three colours, by F(2, 3) along the rows (Lavin and
// Gray 2016). One thread.
//
// For each of the nine rows of the kernel and three colours there is a one-dimensional convolution with nine taps; the
// 27 of them, (kernel row, colour), are computed together, in 32 lanes. Nine taps are three groups of three, and each
// group is an F(2, 3): four products give two neighbouring pixels instead of six. The groups begin three pixels apart,
// so that windows begin at even pixels ("even") for the first and the last group, at odd ones for the second.

#include "vectors.h"

constexpr int KERNEL = 9, HALF = KERNEL / 2, COLOURS = 3, GROUPS = 3;
constexpr int POSITIONS = 4;  // of a window
constexpr int SUMS = 32;      // lanes of (kernel row, colour); 27 are used

// Windows of one row: even ones begin at -4, -2 ... width, odd ones at -1, 1 ... width - 3; (4, windows, maps) each.
template <int V>
struct Windows {
    bfloat16 *even, *odd;
    int pairs;

    size_t even_position() const { return (size_t)(pairs + 3) * V * LANES; }
    size_t odd_position() const { return (size_t)pairs * V * LANES; }
};

template <int V>
static Windows<V> windows(int width, Buffer<bfloat16>& even, Buffer<bfloat16>& odd) {
    const int pairs = width / 2;
    return {even.of((size_t)POSITIONS * (pairs + 3) * V * LANES), odd.of((size_t)POSITIONS * pairs * V * LANES), pairs};
}

// B^T d of all windows of a row of (width, V * 16) values, after a PReLU if ACTIVATED.
template <int V, bool ACTIVATED>
static void transform_row(const bfloat16* row, int width, float slope, const Windows<V>& to) {
    const int maps = V * LANES;
    const size_t even = to.even_position(), odd = to.odd_position();
    const __m512 slopes = _mm512_set1_ps(slope);
    for (int v = 0; v < V; v++) {
        const auto value = [&](int x) {
            if (x < 0 || x >= width) return _mm512_setzero_ps();
            const __m512 d = load(row + (size_t)x * maps + v * LANES);
            return ACTIVATED ? prelu(d, slopes) : d;
        };
        __m512 d0 = _mm512_setzero_ps(), d1 = d0, d2 = d0;
        for (int start = -HALF; start <= width; start += 2) {
            const __m512 d3 = value(start + 3), d4 = value(start + 4);
            bfloat16* target = to.even + (size_t)(start / 2 + 2) * maps + v * LANES;
            store(target, _mm512_sub_ps(d0, d2));
            store(target + even, _mm512_add_ps(d1, d2));
            store(target + 2 * even, _mm512_sub_ps(d2, d1));
            store(target + 3 * even, _mm512_sub_ps(d1, d3));
            const int pair = (start + 2) / 2;  // whose second group begins at start + 1
            if (pair >= 0 && pair < to.pairs) {
                target = to.odd + (size_t)pair * maps + v * LANES;
                store(target, _mm512_sub_ps(d1, d3));
                store(target + odd, _mm512_add_ps(d2, d3));
                store(target + 2 * odd, _mm512_sub_ps(d3, d2));
                store(target + 3 * odd, _mm512_sub_ps(d2, d4));
            }
            d0 = d2;
            d1 = d3;
            d2 = d4;
        }
    }
}

// (rows, OUT * 16): the sum over the three groups of windows times U, (3, maps / 2, OUT * 16, 2).
template <int ROWS, int OUT>
static inline void multiply_rows(const int32_t* const (&groups)[GROUPS], size_t row_step, const bfloat16* u, int pairs,
                                 float* c) {
    __m512 sums[ROWS][OUT];
#pragma GCC unroll 12
    for (int row = 0; row < ROWS; row++)
#pragma GCC unroll 4
        for (int v = 0; v < OUT; v++) sums[row][v] = _mm512_setzero_ps();
    for (int group = 0; group < GROUPS; group++) {
        const int32_t* a = groups[group];
        for (int pair = 0; pair < pairs; pair++, u += (size_t)2 * OUT * LANES) {
            __m512bh right[OUT];
#pragma GCC unroll 4
            for (int v = 0; v < OUT; v++) right[v] = load_pairs(u + 2 * v * LANES);
#pragma GCC unroll 12
            for (int row = 0; row < ROWS; row++) {
                const __m512bh left = repeat_pair(a[row * row_step + pair]);
#pragma GCC unroll 4
                for (int v = 0; v < OUT; v++) sums[row][v] = _mm512_dpbf16_ps(sums[row][v], left, right[v]);
            }
        }
    }
#pragma GCC unroll 12
    for (int row = 0; row < ROWS; row++)
#pragma GCC unroll 4
        for (int v = 0; v < OUT; v++) _mm512_storeu_ps(c + ((size_t)row * OUT + v) * LANES, sums[row][v]);
}

// The four products of all pairs of pixels of a row, (4, pairs, OUT * 16); ROWS of them at a time.
template <int ROWS, int V, int OUT>
static void multiply(const Windows<V>& w, const bfloat16* packed, float* products) {
    const size_t step = V * LANES / 2;
    for (int position = 0; position < POSITIONS; position++) {
        const int32_t* even = (const int32_t*)(w.even + position * w.even_position());
        const int32_t* odd = (const int32_t*)(w.odd + position * w.odd_position());
        const bfloat16* u = packed + (size_t)position * GROUPS * V * LANES * OUT * LANES;
        float* c = products + (size_t)position * w.pairs * OUT * LANES;
        int m = 0;
        for (; m + ROWS <= w.pairs; m += ROWS)
            multiply_rows<ROWS, OUT>({even + m * step, odd + m * step, even + (m + 3) * step}, step, u, V * LANES / 2,
                                     c + (size_t)m * OUT * LANES);
        for (; m < w.pairs; m++)
            multiply_rows<1, OUT>({even + m * step, odd + m * step, even + (m + 3) * step}, step, u, V * LANES / 2,
                                  c + (size_t)m * OUT * LANES);
    }
}

// Both pixels of a pair: A^T of its four products, ``position`` apart.
struct Pixels {
    __m512 values[2];
};

static inline Pixels pixels(const float* products, size_t position) {
    const __m512 m0 = _mm512_loadu_ps(products), m1 = _mm512_loadu_ps(products + position);
    const __m512 m2 = _mm512_loadu_ps(products + 2 * position), m3 = _mm512_loadu_ps(products + 3 * position);
    return {{_mm512_add_ps(_mm512_add_ps(m0, m1), m2), _mm512_sub_ps(_mm512_sub_ps(m1, m2), m3)}};
}

// Sums of one pixel, one kernel row on: lane (r, colour) takes up lane (r - 1, colour); the first row's become zero.
static inline void next_kernel_row(__m512& low, __m512& high) {
    alignas(64) static const int32_t within[16] = {0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    alignas(64) static const int32_t across[16] = {13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28};
    const __m512 moved = _mm512_maskz_permutexvar_ps(0xFFF8, _mm512_load_si512(within), low);
    high = _mm512_maskz_permutex2var_ps(0x07FF, low, _mm512_load_si512(across), high);
    low = moved;
}

// (64 maps, 32 sums) of gradients, added up over pairs of rows: A is (pairs, 64, 2), B (pairs, 32, 2).
template <int ROWS>
static inline void add_products(const int32_t* a, const bfloat16* b, int pairs, float* c) {
    __m512 sums[ROWS][2];
#pragma GCC unroll 12
    for (int row = 0; row < ROWS; row++) {
        sums[row][0] = _mm512_loadu_ps(c + row * SUMS);
        sums[row][1] = _mm512_loadu_ps(c + row * SUMS + LANES);
    }
    for (int pair = 0; pair < pairs; pair++) {
        const __m512bh low = load_pairs(b + (size_t)pair * 2 * SUMS), high = load_pairs(b + (size_t)pair * 2 * SUMS + SUMS);
#pragma GCC unroll 12
        for (int row = 0; row < ROWS; row++) {
            const __m512bh left = repeat_pair(a[row + (size_t)pair * PANEL]);
            sums[row][0] = _mm512_dpbf16_ps(sums[row][0], left, low);
            sums[row][1] = _mm512_dpbf16_ps(sums[row][1], left, high);
        }
    }
#pragma GCC unroll 12
    for (int row = 0; row < ROWS; row++) {
        _mm512_storeu_ps(c + row * SUMS, sums[row][0]);
        _mm512_storeu_ps(c + row * SUMS + LANES, sums[row][1]);
    }
}

// A dY of the pairs of a row, (pairs, 32), at one position; ``sums`` is (width, 32).
static void transform_gradients(const bfloat16* sums, int pairs, int position, bfloat16* transformed) {
    for (int m = 0; m < pairs; m++)
        for (int v = 0; v < SUMS / LANES; v++) {
            const __m512 first = load(sums + (size_t)(2 * m) * SUMS + v * LANES);
            const __m512 second = load(sums + (size_t)(2 * m + 1) * SUMS + v * LANES);
            const __m512 value = position == 0   ? first
                                 : position == 1 ? _mm512_add_ps(first, second)
                                 : position == 2 ? _mm512_sub_ps(first, second)
                                                 : _mm512_sub_ps(_mm512_setzero_ps(), second);
            store(transformed + (size_t)m * SUMS + v * LANES, value);
        }
}

extern "C" {

// y, (N, H, W, 3) in float32 without a bias, of x, (N, H, W, 64) before the PReLU; U is (4, 3, 32, 32, 2). W is even.
void tail_forward(const bfloat16* x, int pictures, int height, int width, float slope, const bfloat16* packed, float* y) {
    static Buffer<bfloat16> even, odd;
    static Buffer<float> products_buffer, sums_buffer;
    const Windows<VECTORS> row_windows = windows<VECTORS>(width, even, odd);
    const int pairs = width / 2;
    const size_t position = (size_t)pairs * SUMS;
    float* products = products_buffer.of(POSITIONS * position);
    float* sums = sums_buffer.of((size_t)width * SUMS);  // of each pixel, over the kernel rows so far
    for (int picture = 0; picture < pictures; picture++) {
        for (size_t k = 0; k < (size_t)width * SUMS; k++) sums[k] = 0.0f;
        for (int row = 0; row < height + HALF; row++) {  // the last ones are padding
            const bool real = row < height;
            if (real) {
                const bfloat16* from = x + ((size_t)picture * height + row) * width * PANEL;
                transform_row<VECTORS, true>(from, width, slope, row_windows);
                multiply<12, VECTORS, SUMS / LANES>(row_windows, packed, products);
            }
            float* finished = row >= HALF ? y + ((size_t)picture * height + row - HALF) * width * COLOURS : nullptr;
            for (int m = 0; m < pairs; m++) {
                Pixels low{}, high{};
                if (real) {
                    low = pixels(products + (size_t)m * SUMS, position);
                    high = pixels(products + (size_t)m * SUMS + LANES, position);
                }
                for (int k = 0; k < 2; k++) {
                    float* sum = sums + (size_t)(2 * m + k) * SUMS;
                    __m512 first = _mm512_loadu_ps(sum), second = _mm512_loadu_ps(sum + LANES);
                    next_kernel_row(first, second);
                    _mm512_storeu_ps(sum, _mm512_add_ps(first, low.values[k]));
                    _mm512_storeu_ps(sum + LANES, _mm512_add_ps(second, high.values[k]));
                    if (finished)
                        for (int colour = 0; colour < COLOURS; colour++)
                            finished[(size_t)(2 * m + k) * COLOURS + colour] = sum[(KERNEL - 1) * COLOURS + colour];
                }
            }
        }
    }
}

// Gradients of x, (N, H, W, 64), and, added, of U as in tail_forward but (4, 3, 64, 32), and of the slope. ``packed``
// is of the kernels turned left to right, (4, 3, 16, 64, 2). W is a multiple of 4.
void tail_backward(const bfloat16* x, const float* gradient, int pictures, int height, int width, float slope,
                   const bfloat16* packed, bfloat16* x_gradient, float* packed_gradient, double* slope_gradient) {
    static Buffer<bfloat16> even, odd, sums_even, sums_odd, rounded_buffer, rows_buffer, outputs_buffer, inputs_buffer;
    static Buffer<float> products_buffer, sums_buffer;
    const Windows<VECTORS> row_windows = windows<VECTORS>(width, even, odd);
    const Windows<SUMS / LANES> sum_windows = windows<SUMS / LANES>(width, sums_even, sums_odd);
    const int pairs = width / 2;
    const size_t position = (size_t)pairs * PANEL;
    const __m512 slopes = _mm512_set1_ps(slope);
    float* products = products_buffer.of(POSITIONS * position);
    float* sums = sums_buffer.of((size_t)width * SUMS);  // of each pixel, the gradients of (kernel row, colour)
    bfloat16* rounded = rounded_buffer.of((size_t)width * SUMS);
    bfloat16* rows = rows_buffer.of((size_t)pairs * SUMS);
    bfloat16* outputs = outputs_buffer.of((size_t)pairs * SUMS);
    bfloat16* inputs = inputs_buffer.of(position);
    for (int picture = 0; picture < pictures; picture++) {
        for (size_t k = 0; k < (size_t)width * SUMS; k++) sums[k] = 0.0f;
        for (int row = -HALF; row < height; row++) {
            const int newest = row + HALF;  // row of the gradient that comes into sight
            const float* next = gradient + ((size_t)picture * height + newest) * width * COLOURS;
            for (int k = 0; k < width; k++) {
                float* sum = sums + (size_t)k * SUMS;
                __m512 low = _mm512_loadu_ps(sum), high = _mm512_loadu_ps(sum + LANES);
                next_kernel_row(low, high);
                if (newest < height) low = _mm512_mask_loadu_ps(low, 0x7, next + (size_t)k * COLOURS);
                _mm512_storeu_ps(sum, low);
                _mm512_storeu_ps(sum + LANES, high);
                store(rounded + (size_t)k * SUMS, low);
                store(rounded + (size_t)k * SUMS + LANES, high);
            }
            if (row < 0) continue;

            transform_row<SUMS / LANES, false>(rounded, width, 0.0f, sum_windows);
            multiply<6, SUMS / LANES, VECTORS>(sum_windows, packed, products);
            const size_t start = ((size_t)picture * height + row) * width * PANEL;
            __m512 of_slope = _mm512_setzero_ps();
            for (int m = 0; m < pairs; m++)
                for (int v = 0; v < VECTORS; v++) {
                    const Pixels both = pixels(products + (size_t)m * PANEL + v * LANES, position);
                    for (int k = 0; k < 2; k++) {
                        const size_t at = start + (size_t)(2 * m + k) * PANEL + v * LANES;
                        const __m512 before = load(x + at);
                        of_slope = _mm512_fmadd_ps(both.values[k], negative_part(before), of_slope);
                        store(x_gradient + at, prelu_gradient(both.values[k], before, slopes));
                    }
                }
            *slope_gradient += _mm512_reduce_add_ps(of_slope);

            transform_row<VECTORS, true>(x + start, width, slope, row_windows);
            for (int p = 0; p < POSITIONS; p++) {
                transform_gradients(rounded, pairs, p, rows);
                interleave(rows, pairs, SUMS, outputs);
                const bfloat16* evens = row_windows.even + p * row_windows.even_position();
                const bfloat16* odds = row_windows.odd + p * row_windows.odd_position();
                const bfloat16* begins[GROUPS] = {evens, odds, evens + 3 * PANEL};
                for (int group = 0; group < GROUPS; group++) {
                    interleave(begins[group], pairs, PANEL, inputs);
                    float* c = packed_gradient + ((size_t)p * GROUPS + group) * PANEL * SUMS;
                    const int32_t* a = (const int32_t*)inputs;
                    int map = 0;
                    for (; map + 12 <= PANEL; map += 12) add_products<12>(a + map, outputs, pairs / 2, c + map * SUMS);
                    add_products<4>(a + map, outputs, pairs / 2, c + map * SUMS);
                }
            }
        }
    }
}
}
