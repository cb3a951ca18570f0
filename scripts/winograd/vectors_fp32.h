// What the float32 kernels share: eight values at a time, in whatever registers the processor has (GCC's vectors).
#pragma once

#include <algorithm>
#include <cstddef>

#include "pictures.h"

constexpr int LANES = 8;   // float32 values in a vector
constexpr int STRIP = 16;  // maps that are computed together

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef float unaligned_vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static inline vec load(const float* from) { return *(const unaligned_vec*)from; }

static inline void store(float* to, vec values) { *(unaligned_vec*)to = values; }

static inline vec repeat(float value) { return value - vec{}; }

// NaN stays NaN in all three.
static inline vec negative_part(vec x) { return x > 0 ? vec{} : x; }

static inline vec prelu(vec x, vec slope) { return x > 0 ? x : slope * x; }

// The gradient of PReLU's input x, of that of its output.
static inline vec prelu_gradient(vec gradient, vec x, vec slope) { return x > 0 ? gradient : gradient * slope; }

static inline float sum(vec x) {
    float total = 0;
    for (int k = 0; k < LANES; k++) total += x[k];
    return total;
}

// (ROWS, 16) of C from A, whose values are ``row_step`` and ``step`` apart, and B, (depth, 16) with rows ``b_step``
// apart; added to what is in C if ADD.
template <int ROWS, bool ADD>
static inline void multiply_rows(const float* a, size_t row_step, size_t step, const float* b, size_t b_step, int depth,
                                 float* c, size_t c_step) {
    vec sums[ROWS][2];
#pragma GCC unroll 6
    for (int row = 0; row < ROWS; row++) {
        sums[row][0] = ADD ? load(c + row * c_step) : vec{};
        sums[row][1] = ADD ? load(c + row * c_step + LANES) : vec{};
    }
    for (int k = 0; k < depth; k++) {
        const vec low = load(b + k * b_step), high = load(b + k * b_step + LANES);
#pragma GCC unroll 6
        for (int row = 0; row < ROWS; row++) {
            const vec left = repeat(a[row * row_step + k * step]);
            sums[row][0] += left * low;
            sums[row][1] += left * high;
        }
    }
#pragma GCC unroll 6
    for (int row = 0; row < ROWS; row++) {
        store(c + row * c_step, sums[row][0]);
        store(c + row * c_step + LANES, sums[row][1]);
    }
}

// Six rows at a time: their twelve sums leave four of sixteen registers for what is multiplied.
template <bool ADD>
static void multiply(int rows, const float* a, size_t row_step, size_t step, const float* b, size_t b_step, int depth,
                     float* c, size_t c_step) {
    int row = 0;
    for (; row + 6 <= rows; row += 6)
        multiply_rows<6, ADD>(a + row * row_step, row_step, step, b, b_step, depth, c + row * c_step, c_step);
    for (; row + 4 <= rows; row += 4)
        multiply_rows<4, ADD>(a + row * row_step, row_step, step, b, b_step, depth, c + row * c_step, c_step);
    for (; row < rows; row++)
        multiply_rows<1, ADD>(a + row * row_step, row_step, step, b, b_step, depth, c + row * c_step, c_step);
}
