// 3x3 convolutions by Winograd's F(2x2, 3x3) (Lavin and Gray 2016): a tile of 4x4 inputs gives 2x2 outputs with 16
// products per pair of maps instead of 36. Pictures are (N, H, W, maps) in bfloat16 with even sides, zero-padded; sums
// are float32. One thread.
//
//   tiles of inputs ── B^T d B ── V ──┐
//                                     ├── 16 matrix products over the input maps ── M ── A^T M A ── tiles of outputs
//   kernels ──────── G g G^T ──── U ──┘

#include "vectors.h"

#include <algorithm>

constexpr int POSITIONS = 16;        // of a 4x4 tile
constexpr int GRADIENT_BLOCK = 48;   // tiles that the weights' gradient sums at once

using Layout = TiledLayout<2>;

// What happens to outputs before they are stored; null pointers leave a step out.
struct Ending {
    const float* bias;     // (maps)
    const bfloat16* gate;  // a PReLU's input: outputs are gradients of the PReLU's output, stored are those of its input
    float slope;           // of that PReLU
    double* slope_gradient;  // takes up the gradient of the slope
    const bfloat16* added;   // another picture
};

// (rows, 64) of C from A, whose pairs of values are ``row_step`` and ``pair_step`` apart, and B, (pairs, 64, 2).
template <int ROWS, bool ADD>
static inline void multiply_rows(const int32_t* a, size_t row_step, size_t pair_step, const bfloat16* b, int pairs,
                                 float* c) {
    __m512 sums[ROWS][VECTORS];
#pragma GCC unroll 8
    for (int row = 0; row < ROWS; row++)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++)
            sums[row][v] = ADD ? _mm512_loadu_ps(c + row * PANEL + v * LANES) : _mm512_setzero_ps();
    for (int pair = 0; pair < pairs; pair++) {
        __m512bh right[VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) right[v] = load_pairs(b + ((size_t)pair * PANEL + v * LANES) * 2);
#pragma GCC unroll 8
        for (int row = 0; row < ROWS; row++) {
            const __m512bh left = repeat_pair(a[row * row_step + pair * pair_step]);
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; v++) sums[row][v] = _mm512_dpbf16_ps(sums[row][v], left, right[v]);
        }
    }
#pragma GCC unroll 8
    for (int row = 0; row < ROWS; row++)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) _mm512_storeu_ps(c + row * PANEL + v * LANES, sums[row][v]);
}

// Six rows at a time: their 24 sums fill the registers.
template <bool ADD>
static void multiply(int rows, const int32_t* a, size_t row_step, size_t pair_step, const bfloat16* b, int pairs,
                     float* c) {
    int row = 0;
    for (; row + 6 <= rows; row += 6)
        multiply_rows<6, ADD>(a + row * row_step, row_step, pair_step, b, pairs, c + row * PANEL);
    for (; row + 2 <= rows; row += 2)
        multiply_rows<2, ADD>(a + row * row_step, row_step, pair_step, b, pairs, c + row * PANEL);
    for (; row < rows; row++)
        multiply_rows<1, ADD>(a + row * row_step, row_step, pair_step, b, pairs, c + row * PANEL);
}

struct Column {
    __m512 values[4];
};

// Four rows of one column, times B^T from the left.
template <bool ACTIVATED>
static inline Column column(const Layout& layout, const bfloat16* x, int picture, int top, int at_x, int panel, int v,
                            __m512 slope) {
    __m512 d[4];
#pragma GCC unroll 4
    for (int row = 0; row < 4; row++) {
        const int y = top + row;
        const bool inside = at_x >= 0 && at_x < layout.width && y >= 0 && y < layout.height;
        d[row] = inside ? load(x + layout.at(picture, y, at_x, panel) + v * LANES) : _mm512_setzero_ps();
        if (ACTIVATED) d[row] = prelu(d[row], slope);
    }
    return {{_mm512_sub_ps(d[0], d[2]), _mm512_add_ps(d[1], d[2]), _mm512_sub_ps(d[2], d[1]), _mm512_sub_ps(d[1], d[3])}};
}

// V of tiles ``first`` to ``last``: (16, block, maps of the panels), with a PReLU before it if ACTIVATED.
template <bool ACTIVATED>
static void transform_inputs(const Layout& layout, const bfloat16* x, float slope, int first, int last, int block,
                             int first_panel, int last_panel, bfloat16* transformed) {
    const int across = layout.tiles_across(), maps = (last_panel - first_panel) * PANEL;
    const size_t position = (size_t)block * maps;
    const __m512 slopes = _mm512_set1_ps(slope);
    for (int tile = first; tile < last;) {
        // tiles side by side share two columns
        const int from = tile % across, to = std::min(across, from + last - tile);
        const int top = 2 * (tile / across % layout.tiles_down()) - 1, picture = tile / (across * layout.tiles_down());
        for (int panel = first_panel; panel < last_panel; panel++) {
            for (int v = 0; v < VECTORS; v++) {
                Column a = column<ACTIVATED>(layout, x, picture, top, 2 * from - 1, panel, v, slopes);
                Column b = column<ACTIVATED>(layout, x, picture, top, 2 * from, panel, v, slopes);
                for (int k = from; k < to; k++) {
                    const Column c = column<ACTIVATED>(layout, x, picture, top, 2 * k + 1, panel, v, slopes);
                    const Column d = column<ACTIVATED>(layout, x, picture, top, 2 * k + 2, panel, v, slopes);
                    bfloat16* target = transformed + (size_t)(tile - first + k - from) * maps +
                                       (panel - first_panel) * PANEL + v * LANES;
#pragma GCC unroll 4
                    for (int row = 0; row < 4; row++) {
                        store(target + (4 * row + 0) * position, _mm512_sub_ps(a.values[row], c.values[row]));
                        store(target + (4 * row + 1) * position, _mm512_add_ps(b.values[row], c.values[row]));
                        store(target + (4 * row + 2) * position, _mm512_sub_ps(c.values[row], b.values[row]));
                        store(target + (4 * row + 3) * position, _mm512_sub_ps(b.values[row], d.values[row]));
                    }
                    a = c;
                    b = d;
                }
            }
        }
        tile += to - from;
    }
}

static void transform_inputs(const Layout& layout, const bfloat16* x, const float* slope, int first, int last,
                             int block, int first_panel, int last_panel, bfloat16* transformed) {
    if (slope)
        transform_inputs<true>(layout, x, *slope, first, last, block, first_panel, last_panel, transformed);
    else
        transform_inputs<false>(layout, x, 0.0f, first, last, block, first_panel, last_panel, transformed);
}

// The outputs of a panel: A^T M A, M being (16, block, 64).
static void finish_outputs(const Layout& layout, bfloat16* y, int first, int last, int block, const float* products,
                           int panel, const Ending& ending) {
    const int across = layout.tiles_across();
    const size_t position = (size_t)block * PANEL;
    const __m512 slope = _mm512_set1_ps(ending.slope);
    __m512 slope_gradient = _mm512_setzero_ps();
    for (int tile = first; tile < last; tile++) {
        const int tile_x = tile % across, tile_y = tile / across % layout.tiles_down();
        const int picture = tile / (across * layout.tiles_down());
        for (int v = 0; v < VECTORS; v++) {
            const float* from = products + (size_t)(tile - first) * PANEL + v * LANES;
            __m512 rows[2][4];
#pragma GCC unroll 4
            for (int k = 0; k < 4; k++) {
                const __m512 m0 = _mm512_loadu_ps(from + k * position), m1 = _mm512_loadu_ps(from + (4 + k) * position);
                const __m512 m2 = _mm512_loadu_ps(from + (8 + k) * position);
                const __m512 m3 = _mm512_loadu_ps(from + (12 + k) * position);
                rows[0][k] = _mm512_add_ps(_mm512_add_ps(m0, m1), m2);
                rows[1][k] = _mm512_sub_ps(_mm512_sub_ps(m1, m2), m3);
            }
            const __m512 bias =
                ending.bias ? _mm512_loadu_ps(ending.bias + panel * PANEL + v * LANES) : _mm512_setzero_ps();
#pragma GCC unroll 2
            for (int row = 0; row < 2; row++) {
                const __m512* r = rows[row];
                const __m512 outputs[2] = {_mm512_add_ps(_mm512_add_ps(r[0], r[1]), r[2]),
                                           _mm512_sub_ps(_mm512_sub_ps(r[1], r[2]), r[3])};
#pragma GCC unroll 2
                for (int k = 0; k < 2; k++) {
                    const size_t at = layout.at(picture, 2 * tile_y + row, 2 * tile_x + k, panel) + v * LANES;
                    __m512 value = _mm512_add_ps(outputs[k], bias);
                    if (ending.gate) {
                        const __m512 before = load(ending.gate + at);
                        slope_gradient = _mm512_fmadd_ps(value, negative_part(before), slope_gradient);
                        value = prelu_gradient(value, before, slope);
                    }
                    if (ending.added) value = _mm512_add_ps(value, load(ending.added + at));
                    store(y + at, value);
                }
            }
        }
    }
    if (ending.gate) *ending.slope_gradient += _mm512_reduce_add_ps(slope_gradient);
}

// A dY A^T of tiles ``first`` to ``last`` of one panel: (16, block, 64); the bias' gradient is taken up on the way.
static void transform_gradients(const Layout& layout, const bfloat16* gradient, int first, int last, int block,
                                int panel, bfloat16* transformed, float* bias_gradient) {
    const int across = layout.tiles_across();
    const size_t position = (size_t)block * PANEL;
    const __m512 zero = _mm512_setzero_ps();
    for (int v = 0; v < VECTORS; v++) {
        float* bias = bias_gradient + panel * PANEL + v * LANES;
        __m512 sum = _mm512_loadu_ps(bias);
        for (int tile = first; tile < last; tile++) {
            const int tile_x = tile % across, tile_y = tile / across % layout.tiles_down();
            const int picture = tile / (across * layout.tiles_down());
            __m512 rows[4][2];
#pragma GCC unroll 2
            for (int k = 0; k < 2; k++) {
                const __m512 d0 = load(gradient + layout.at(picture, 2 * tile_y, 2 * tile_x + k, panel) + v * LANES);
                const __m512 d1 = load(gradient + layout.at(picture, 2 * tile_y + 1, 2 * tile_x + k, panel) + v * LANES);
                rows[0][k] = d0;
                rows[1][k] = _mm512_add_ps(d0, d1);
                rows[2][k] = _mm512_sub_ps(d0, d1);
                rows[3][k] = _mm512_sub_ps(zero, d1);
            }
            sum = _mm512_add_ps(sum, _mm512_add_ps(rows[1][0], rows[1][1]));
            bfloat16* target = transformed + (size_t)(tile - first) * PANEL + v * LANES;
#pragma GCC unroll 4
            for (int row = 0; row < 4; row++) {
                store(target + (4 * row + 0) * position, rows[row][0]);
                store(target + (4 * row + 1) * position, _mm512_add_ps(rows[row][0], rows[row][1]));
                store(target + (4 * row + 2) * position, _mm512_sub_ps(rows[row][0], rows[row][1]));
                store(target + (4 * row + 3) * position, _mm512_sub_ps(zero, rows[row][1]));
            }
        }
        _mm512_storeu_ps(bias, sum);
    }
}

// Tiles that are worked on at once: few enough that V and M stay in the processor's own memory, enough of them, where
// there are many maps, that U does not come from far away for each.
static int tiles_at_once(int maps) { return maps <= 64 ? 24 : maps <= 128 ? 48 : maps <= 256 ? 72 : 96; }

extern "C" {

// y = convolution of x, after a PReLU if there is a slope. U as winograd_pack leaves it.
void winograd_convolve(const bfloat16* x, int pictures, int height, int width, int inputs, int x_shuffled,
                       const float* slope, const bfloat16* packed, int outputs, int y_shuffled, bfloat16* y,
                       const float* bias, const bfloat16* gate, float gate_slope, double* slope_gradient,
                       const bfloat16* added) {
    static Buffer<bfloat16> inputs_buffer;
    static Buffer<float> products_buffer;
    const Layout from{pictures, height, width, inputs, x_shuffled}, to{pictures, height, width, outputs, y_shuffled};
    const Ending ending{bias, gate, gate_slope, slope_gradient, added};
    const int block = tiles_at_once(inputs), tiles = from.tiles();
    bfloat16* v = inputs_buffer.of((size_t)POSITIONS * block * inputs);
    float* m = products_buffer.of((size_t)POSITIONS * block * PANEL);
    for (int first = 0; first < tiles; first += block) {
        const int last = std::min(tiles, first + block);
        transform_inputs(from, x, slope, first, last, block, 0, inputs / PANEL, v);
        for (int panel = 0; panel < outputs / PANEL; panel++) {
            for (int position = 0; position < POSITIONS; position++) {
                const bfloat16* u = packed + ((size_t)panel * POSITIONS + position) * inputs * PANEL;
                multiply<false>(last - first, (const int32_t*)(v + (size_t)position * block * inputs), inputs / 2, 1, u,
                                inputs / 2, m + (size_t)position * block * PANEL);
            }
            finish_outputs(to, y, first, last, block, m, panel, ending);
        }
    }
}

// Adds the gradient of U, (inputs / 64, outputs / 64, 16, 64 inputs, 64 outputs), and of the bias, (outputs).
void winograd_weight_gradient(const bfloat16* x, int pictures, int height, int width, int inputs, int x_shuffled,
                              const float* slope, const bfloat16* gradient, int outputs, int gradient_shuffled,
                              float* packed_gradient, float* bias_gradient) {
    static Buffer<bfloat16> rows_buffer, inputs_buffer, outputs_buffer;
    const Layout from{pictures, height, width, inputs, x_shuffled};
    const Layout to{pictures, height, width, outputs, gradient_shuffled};
    const size_t panel_size = (size_t)POSITIONS * GRADIENT_BLOCK * PANEL;
    const int ins = inputs / PANEL, outs = outputs / PANEL, tiles = from.tiles();
    bfloat16* rows = rows_buffer.of(panel_size);
    bfloat16* input_pairs = inputs_buffer.of(panel_size * ins);
    bfloat16* output_pairs = outputs_buffer.of(panel_size * outs);
    for (int first = 0; first < tiles; first += GRADIENT_BLOCK) {
        const int last = std::min(tiles, first + GRADIENT_BLOCK), count = last - first;
        const size_t position_size = (size_t)GRADIENT_BLOCK * PANEL;
        for (int panel = 0; panel < ins; panel++) {
            transform_inputs(from, x, slope, first, last, GRADIENT_BLOCK, panel, panel + 1, rows);
            for (int p = 0; p < POSITIONS; p++)
                interleave(rows + p * position_size, count, PANEL, input_pairs + panel * panel_size + p * position_size);
        }
        for (int panel = 0; panel < outs; panel++) {
            transform_gradients(to, gradient, first, last, GRADIENT_BLOCK, panel, rows, bias_gradient);
            for (int p = 0; p < POSITIONS; p++)
                interleave(rows + p * position_size, count, PANEL, output_pairs + panel * panel_size + p * position_size);
        }
        for (int i = 0; i < ins; i++)
            for (int o = 0; o < outs; o++)
                for (int p = 0; p < POSITIONS; p++)
                    multiply<true>(PANEL, (const int32_t*)(input_pairs + i * panel_size + p * position_size), 1, PANEL,
                                   output_pairs + o * panel_size + p * position_size, (count + 1) / 2,
                                   packed_gradient + (((size_t)i * outs + o) * POSITIONS + p) * PANEL * PANEL);
    }
}

// U = G g G^T of layers of kernels, (outputs / 64, 16, inputs / 2, 64, 2) each, of (outputs, inputs, 3, 3); as for the
// gradient of the inputs if ``backwards``: maps exchanged, kernels turned by half a turn.
void winograd_pack(const float* kernels, int layers, int outputs, int inputs, int backwards, bfloat16* packed) {
    static Buffer<float> buffer;
    const int rows = backwards ? inputs : outputs, columns = backwards ? outputs : inputs;
    const size_t row_step = (size_t)9 * (backwards ? 1 : inputs), column_step = (size_t)9 * (backwards ? inputs : 1);
    float* taps = buffer.of((size_t)9 * columns * PANEL);  // (9, columns, 64)
    alignas(64) uint16_t order[32];
    for (int k = 0; k < 16; k++) order[2 * k] = k, order[2 * k + 1] = 16 + k;
    const __m512i in_pairs = _mm512_load_si512(order);
    const __m512 half = _mm512_set1_ps(0.5f);
    for (int layer = 0; layer < layers; layer++, kernels += (size_t)outputs * inputs * 9) {
        for (int panel = 0; panel < rows / PANEL; panel++) {
            for (int block = 0; block < PANEL; block += LANES)
                for (int column = 0; column < columns; column++)
                    for (int row = block; row < block + LANES; row++) {
                        const float* kernel = kernels + (panel * PANEL + row) * row_step + column * column_step;
                        for (int tap = 0; tap < 9; tap++)
                            taps[((size_t)(backwards ? 8 - tap : tap) * columns + column) * PANEL + row] = kernel[tap];
                    }
            bfloat16* u = packed + ((size_t)layer * (rows / PANEL) + panel) * POSITIONS * columns * PANEL;
            for (int column = 0; column < columns; column += 2)
                for (int v = 0; v < VECTORS; v++) {
                    __m512 both[2][POSITIONS];
                    for (int k = 0; k < 2; k++) {
                        __m512 g[3][3], left[4][3];
                        for (int tap = 0; tap < 9; tap++)
                            g[tap / 3][tap % 3] =
                                _mm512_loadu_ps(taps + ((size_t)tap * columns + column + k) * PANEL + v * LANES);
                        for (int c = 0; c < 3; c++) {
                            const __m512 ends = _mm512_mul_ps(half, _mm512_add_ps(g[0][c], g[2][c]));
                            const __m512 middle = _mm512_mul_ps(half, g[1][c]);
                            left[0][c] = g[0][c];
                            left[1][c] = _mm512_add_ps(ends, middle);
                            left[2][c] = _mm512_sub_ps(ends, middle);
                            left[3][c] = g[2][c];
                        }
                        for (int r = 0; r < 4; r++) {
                            const __m512 ends = _mm512_mul_ps(half, _mm512_add_ps(left[r][0], left[r][2]));
                            const __m512 middle = _mm512_mul_ps(half, left[r][1]);
                            both[k][4 * r] = left[r][0];
                            both[k][4 * r + 1] = _mm512_add_ps(ends, middle);
                            both[k][4 * r + 2] = _mm512_sub_ps(ends, middle);
                            both[k][4 * r + 3] = left[r][2];
                        }
                    }
                    for (int p = 0; p < POSITIONS; p++) {
                        const __m512i pair = (__m512i)_mm512_cvtne2ps_pbh(both[1][p], both[0][p]);
                        _mm512_storeu_si512(u + (((size_t)p * columns / 2 + column / 2) * PANEL + v * LANES) * 2,
                                            _mm512_permutexvar_epi16(in_pairs, pair));
                    }
                }
        }
    }
}

// The kernels' gradient, (outputs, inputs, 3, 3): G^T dU G.
void winograd_unpack(const float* packed_gradient, int outputs, int inputs, float* gradient) {
    static Buffer<float> buffer;
    float* taps = buffer.of((size_t)9 * PANEL * PANEL);  // (9, 64 inputs, 64 outputs)
    const __m512 half = _mm512_set1_ps(0.5f);
    for (int i = 0; i < inputs / PANEL; i++)
        for (int o = 0; o < outputs / PANEL; o++) {
            const float* u = packed_gradient + ((size_t)i * (outputs / PANEL) + o) * POSITIONS * PANEL * PANEL;
            for (int row = 0; row < PANEL; row++)
                for (int v = 0; v < VECTORS; v++) {
                    __m512 m[4][4], left[3][4];
                    for (int p = 0; p < POSITIONS; p++)
                        m[p / 4][p % 4] = _mm512_loadu_ps(u + ((size_t)p * PANEL + row) * PANEL + v * LANES);
                    for (int c = 0; c < 4; c++) {
                        const __m512 sum = _mm512_mul_ps(half, _mm512_add_ps(m[1][c], m[2][c]));
                        left[0][c] = _mm512_add_ps(m[0][c], sum);
                        left[1][c] = _mm512_mul_ps(half, _mm512_sub_ps(m[1][c], m[2][c]));
                        left[2][c] = _mm512_add_ps(m[3][c], sum);
                    }
                    for (int r = 0; r < 3; r++) {
                        const __m512 sum = _mm512_mul_ps(half, _mm512_add_ps(left[r][1], left[r][2]));
                        const __m512 difference = _mm512_mul_ps(half, _mm512_sub_ps(left[r][1], left[r][2]));
                        float* target = taps + ((size_t)(3 * r) * PANEL + row) * PANEL + v * LANES;
                        _mm512_storeu_ps(target, _mm512_add_ps(left[r][0], sum));
                        _mm512_storeu_ps(target + PANEL * PANEL, difference);
                        _mm512_storeu_ps(target + 2 * PANEL * PANEL, _mm512_add_ps(left[r][3], sum));
                    }
                }
            for (int block = 0; block < PANEL; block += LANES)
                for (int row = 0; row < PANEL; row++)
                    for (int out = block; out < block + LANES; out++) {
                        float* target = gradient + (((size_t)o * PANEL + out) * inputs + i * PANEL + row) * 9;
                        for (int tap = 0; tap < 9; tap++) target[tap] = taps[((size_t)tap * PANEL + row) * PANEL + out];
                    }
        }
}
}
