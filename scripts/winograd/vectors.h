// What both kernels share: bfloat16 in and out of registers, PReLU, memory to work in, pairs of rows side by side.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "pictures.h"

using bfloat16 = uint16_t;

constexpr int LANES = 16;  // float32 values in a register
constexpr int VECTORS = PANEL / LANES;

static inline __m512 load(const bfloat16* from) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)from)), 16));
}

static inline void store(bfloat16* to, __m512 values) {
    _mm256_storeu_si256((__m256i*)to, (__m256i)_mm512_cvtneps_pbh(values));
}

static inline __m512bh load_pairs(const bfloat16* from) { return (__m512bh)_mm512_loadu_si512(from); }

static inline __m512bh repeat_pair(int32_t pair) { return (__m512bh)_mm512_set1_epi32(pair); }

// Of two values, min and max give the second one if there is a NaN; x stands second, so that NaN stays NaN.
static inline __m512 negative_part(__m512 x) { return _mm512_min_ps(_mm512_setzero_ps(), x); }

static inline __m512 prelu(__m512 x, __m512 slope) {
    return _mm512_fmadd_ps(slope, negative_part(x), _mm512_max_ps(_mm512_setzero_ps(), x));
}

// The gradient of PReLU's input x, of that of its output.
static inline __m512 prelu_gradient(__m512 gradient, __m512 x, __m512 slope) {
    const __mmask16 positive = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ);
    return _mm512_mul_ps(gradient, _mm512_mask_blend_ps(positive, slope, _mm512_set1_ps(1.0f)));
}

// Lays rows of maps out in pairs, (rows / 2, maps, 2), as products of bfloat16 sum over two rows at once. Of an odd
// number of rows, the last one is paired with zeros.
static inline void interleave(const bfloat16* rows, int count, int maps, bfloat16* pairs) {
    alignas(64) static const uint16_t low[32] = {0,  32, 1,  33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                                 8,  40, 9,  41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
    alignas(64) static const uint16_t high[32] = {16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23, 55,
                                                  24, 56, 25, 57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31, 63};
    const __m512i first_half = _mm512_load_si512(low), second_half = _mm512_load_si512(high);
    for (int row = 0; row < count; row += 2) {
        for (int map = 0; map < maps; map += 32) {
            const bfloat16* from = rows + (size_t)row * maps + map;
            const __m512i one = _mm512_loadu_si512(from);
            const __m512i other = row + 1 < count ? _mm512_loadu_si512(from + maps) : _mm512_setzero_si512();
            bfloat16* to = pairs + ((size_t)row / 2 * maps + map) * 2;
            _mm512_storeu_si512(to, _mm512_permutex2var_epi16(one, first_half, other));
            _mm512_storeu_si512(to + 32, _mm512_permutex2var_epi16(one, second_half, other));
        }
    }
}
