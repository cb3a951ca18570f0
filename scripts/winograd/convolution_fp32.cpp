// 3x3 convolutions by Winograd's F(4x4, 3x3) (Lavin and Gray 2016): a tile of 6x6 inputs gives 4x4 outputs with 36
// products per pair of maps instead of 144. Pictures are (N, H, W, maps) in float32, zero-padded; tiles may reach
// beyond a picture's edge. One thread.
//
//   tiles of inputs ── B^T d B ── V ──┐
//                                     ├── 36 matrix products over the input maps ── M ── A^T M A ── tiles of outputs
//   kernels ──────── G g G^T ──── U ──┘

#include "vectors_fp32.h"

constexpr int TILE = 4, WINDOW = 6;  // outputs and inputs of a tile, each way
constexpr int POSITIONS = WINDOW * WINDOW;
constexpr int GAP = 16;  // between positions, so that they do not fall into one set of the cache

using Layout = TiledLayout<TILE>;

struct Place {
    int picture, y, x;  // of a tile's first output
};

static inline Place place(const Layout& layout, int tile) {
    const int across = layout.tiles_across(), down = layout.tiles_down();
    return {tile / (across * down), tile / across % down * TILE, tile % across * TILE};
}

// What happens to outputs before they are stored; null pointers leave a step out.
struct Ending {
    const float* bias;       // (maps)
    const float* gate;       // a PReLU's input: outputs are gradients of its output, stored are those of its input
    float slope;             // of that PReLU
    double* slope_gradient;  // takes up the gradient of the slope
    const float* added;      // another picture
};

// B^T d, 6 to 6.
static inline void window_in(const vec* d, int step, vec* to, int to_step) {
    const vec d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
    const vec even = d4 - 4.0f * d2, odd = d3 - 4.0f * d1, near = d4 - d2, far = 2.0f * (d3 - d1);
    to[0] = 4.0f * d0 - 5.0f * d2 + d4;
    to[to_step] = even + odd;
    to[2 * to_step] = even - odd;
    to[3 * to_step] = near + far;
    to[4 * to_step] = near - far;
    to[5 * to_step] = 4.0f * d1 - 5.0f * d3 + d5;
}

// A^T m, 6 to 4.
static inline void tile_out(const vec* m, int step, vec* to, int to_step) {
    const vec sum1 = m[step] + m[2 * step], difference1 = m[step] - m[2 * step];
    const vec sum2 = m[3 * step] + m[4 * step], difference2 = m[3 * step] - m[4 * step];
    to[0] = m[0] + sum1 + sum2;
    to[to_step] = difference1 + 2.0f * difference2;
    to[2 * to_step] = sum1 + 4.0f * sum2;
    to[3 * to_step] = difference1 + 8.0f * difference2 + m[5 * step];
}

// A y, 4 to 6.
static inline void tile_in(const vec* y, int step, vec* to, int to_step) {
    const vec y0 = y[0], y1 = y[step], y2 = y[2 * step], y3 = y[3 * step];
    const vec even1 = y0 + y2, odd1 = y1 + y3, even2 = y0 + 4.0f * y2, odd2 = 2.0f * y1 + 8.0f * y3;
    to[0] = y0;
    to[to_step] = even1 + odd1;
    to[2 * to_step] = even1 - odd1;
    to[3 * to_step] = even2 + odd2;
    to[4 * to_step] = even2 - odd2;
    to[5 * to_step] = y3;
}

// V of one tile and panel; its window begins at (top, left), and lies inside the picture if WHOLE.
template <bool ACTIVATED, bool WHOLE>
static inline void transform_window(const Layout& layout, const float* x, vec slopes, int picture, int top, int left,
                                    int panel, size_t position, float* target) {
    const float* rows[WINDOW];
    for (int row = 0; row < WINDOW; row++)
        rows[row] = x + layout.at(picture, WHOLE ? top + row : std::clamp(top + row, 0, layout.height - 1), 0, panel);
    const ptrdiff_t step = layout.shuffled ? 2 * PANEL : layout.maps;  // from pixel to pixel
    for (int map = 0; map < PANEL; map += LANES, target += LANES) {
        vec d[POSITIONS], half[POSITIONS];
#pragma GCC unroll 6
        for (int column = 0; column < WINDOW; column++) {
#pragma GCC unroll 6
            for (int row = 0; row < WINDOW; row++) {
                const int y = top + row, at_x = left + column;
                const bool inside = WHOLE || (y >= 0 && y < layout.height && at_x >= 0 && at_x < layout.width);
                const vec value = inside ? load(rows[row] + at_x * step + map) : vec{};
                d[row * WINDOW + column] = ACTIVATED ? prelu(value, slopes) : value;
            }
            window_in(d + column, WINDOW, half + column, WINDOW);
        }
#pragma GCC unroll 6
        for (int row = 0; row < WINDOW; row++) {
            vec out[WINDOW];
            window_in(half + row * WINDOW, 1, out, 1);
#pragma GCC unroll 6
            for (int column = 0; column < WINDOW; column++)
                store(target + (row * WINDOW + column) * position, out[column]);
        }
    }
}

// V of tiles ``first`` to ``last``: (36, block, maps of the panels), with a PReLU before it if ACTIVATED.
template <bool ACTIVATED>
static void transform_inputs(const Layout& layout, const float* x, float slope, int first, int last, size_t position,
                             int first_panel, int last_panel, float* transformed) {
    const int maps = (last_panel - first_panel) * PANEL;
    const vec slopes = repeat(slope);
    for (int tile = first; tile < last; tile++) {
        const Place at = place(layout, tile);
        const int top = at.y - 1, left = at.x - 1;
        const bool whole = top >= 0 && left >= 0 && top + WINDOW <= layout.height && left + WINDOW <= layout.width;
        for (int panel = first_panel; panel < last_panel; panel++) {
            float* target = transformed + (size_t)(tile - first) * maps + (panel - first_panel) * PANEL;
            const auto transform = whole ? transform_window<ACTIVATED, true> : transform_window<ACTIVATED, false>;
            transform(layout, x, slopes, at.picture, top, left, panel, position, target);
        }
    }
}

static void transform_inputs(const Layout& layout, const float* x, const float* slope, int first, int last,
                             size_t position, int first_panel, int last_panel, float* transformed) {
    if (slope)
        transform_inputs<true>(layout, x, *slope, first, last, position, first_panel, last_panel, transformed);
    else
        transform_inputs<false>(layout, x, 0.0f, first, last, position, first_panel, last_panel, transformed);
}

// The outputs of a strip of 16 maps: A^T M A, M being (36, block, 16).
template <bool GATED, bool ADDED>
static void finish_outputs(const Layout& layout, float* y, int first, int last, size_t position, const float* products,
                           int strip, const Ending& ending) {
    const int panel = strip * STRIP / PANEL, offset = strip * STRIP % PANEL;
    const size_t step = layout.shuffled ? 2 * PANEL : layout.maps;  // from pixel to pixel
    const vec slope = repeat(ending.slope);
    vec slope_gradient{};
    for (int tile = first; tile < last; tile++) {
        const Place at = place(layout, tile);
        const int rows = std::min(TILE, layout.height - at.y), columns = std::min(TILE, layout.width - at.x);
        for (int v = 0; v < STRIP; v += LANES) {
            const float* from = products + (size_t)(tile - first) * STRIP + v;
            const vec bias = ending.bias ? load(ending.bias + strip * STRIP + v) : vec{};
            vec half[TILE * WINDOW];
#pragma GCC unroll 6
            for (int column = 0; column < WINDOW; column++) {
                vec m[WINDOW];
#pragma GCC unroll 6
                for (int row = 0; row < WINDOW; row++) m[row] = load(from + (row * WINDOW + column) * position);
                tile_out(m, 1, half + column, WINDOW);
            }
#pragma GCC unroll 4
            for (int row = 0; row < TILE; row++) {
                if (row >= rows) break;
                vec out[TILE];
                tile_out(half + row * WINDOW, 1, out, 1);
                size_t to = layout.at(at.picture, at.y + row, at.x, panel) + offset + v;
#pragma GCC unroll 4
                for (int column = 0; column < TILE; column++, to += step) {
                    if (column >= columns) break;
                    vec value = out[column] + bias;
                    if (GATED) {
                        const vec before = load(ending.gate + to);
                        slope_gradient += value * negative_part(before);
                        value = prelu_gradient(value, before, slope);
                    }
                    if (ADDED) value += load(ending.added + to);
                    store(y + to, value);
                }
            }
        }
    }
    if (GATED) *ending.slope_gradient += sum(slope_gradient);
}

static void finish_outputs(const Layout& layout, float* y, int first, int last, size_t position, const float* products,
                           int strip, const Ending& ending) {
    const auto finish = ending.gate ? (ending.added ? finish_outputs<true, true> : finish_outputs<true, false>)
                                    : (ending.added ? finish_outputs<false, true> : finish_outputs<false, false>);
    finish(layout, y, first, last, position, products, strip, ending);
}

// A dY A^T of tiles ``first`` to ``last`` of one panel: (36, block, 64); the bias' gradient is taken up on the way.
static void transform_gradients(const Layout& layout, const float* gradient, int first, int last, size_t position,
                                int panel, float* transformed, float* bias_gradient) {
    for (int tile = first; tile < last; tile++) {
        const Place at = place(layout, tile);
        const int rows = std::min(TILE, layout.height - at.y), columns = std::min(TILE, layout.width - at.x);
        float* target = transformed + (size_t)(tile - first) * PANEL;
        for (int map = 0; map < PANEL; map += LANES, target += LANES) {
            vec half[WINDOW * TILE];
            float* bias = bias_gradient + panel * PANEL + map;
            vec total = load(bias);
#pragma GCC unroll 4
            for (int column = 0; column < TILE; column++) {
                vec y[TILE];
#pragma GCC unroll 4
                for (int row = 0; row < TILE; row++) {
                    const bool inside = row < rows && column < columns;
                    y[row] =
                        inside ? load(gradient + layout.at(at.picture, at.y + row, at.x + column, panel) + map) : vec{};
                }
                total += (y[0] + y[1]) + (y[2] + y[3]);
                tile_in(y, 1, half + column, TILE);
            }
            store(bias, total);
#pragma GCC unroll 6
            for (int row = 0; row < WINDOW; row++) {
                vec out[WINDOW];
                tile_in(half + row * TILE, 1, out, 1);
#pragma GCC unroll 6
                for (int column = 0; column < WINDOW; column++)
                    store(target + (row * WINDOW + column) * position, out[column]);
            }
        }
    }
}

// Tiles that are worked on at once: few enough that V stays in the processor's own memory, enough of them, where there
// are many maps, that U does not come from far away for each.
static int tiles_at_once(int maps) { return maps <= 64 ? 48 : 24; }
static constexpr int GRADIENT_BLOCK = 64;

extern "C" {

// y = convolution of x, after a PReLU if there is a slope. U as winograd_pack leaves it.
void winograd_convolve(const float* x, int pictures, int height, int width, int inputs, int x_shuffled,
                       const float* slope, const float* packed, int outputs, int y_shuffled, float* y,
                       const float* bias, const float* gate, float gate_slope, double* slope_gradient,
                       const float* added) {
    static Buffer<float> inputs_buffer, products_buffer;
    const Layout from{pictures, height, width, inputs, x_shuffled}, to{pictures, height, width, outputs, y_shuffled};
    const Ending ending{bias, gate, gate_slope, slope_gradient, added};
    const int block = tiles_at_once(inputs), tiles = from.tiles();
    const size_t v_position = (size_t)block * inputs + GAP, m_position = (size_t)block * STRIP + GAP;
    float* v = inputs_buffer.of(POSITIONS * v_position);
    float* m = products_buffer.of(POSITIONS * m_position);
    for (int first = 0; first < tiles; first += block) {
        const int last = std::min(tiles, first + block);
        transform_inputs(from, x, slope, first, last, v_position, 0, inputs / PANEL, v);
        for (int strip = 0; strip < outputs / STRIP; strip++) {
            for (int position = 0; position < POSITIONS; position++) {
                const float* u = packed + ((size_t)strip * POSITIONS + position) * inputs * STRIP;
                multiply<false>(last - first, v + position * v_position, inputs, 1, u, STRIP, inputs,
                                m + position * m_position, STRIP);
            }
            finish_outputs(to, y, first, last, m_position, m, strip, ending);
        }
    }
}

// Adds the gradient of U, (inputs / 64, outputs / 64, 36, 64 inputs, 64 outputs), and of the bias, (outputs).
void winograd_weight_gradient(const float* x, int pictures, int height, int width, int inputs, int x_shuffled,
                              const float* slope, const float* gradient, int outputs, int gradient_shuffled,
                              float* packed_gradient, float* bias_gradient) {
    static Buffer<float> inputs_buffer, outputs_buffer;
    const Layout from{pictures, height, width, inputs, x_shuffled};
    const Layout to{pictures, height, width, outputs, gradient_shuffled};
    const size_t position = (size_t)GRADIENT_BLOCK * PANEL + GAP, panel_size = POSITIONS * position;
    const int ins = inputs / PANEL, outs = outputs / PANEL, tiles = from.tiles();
    float* v = inputs_buffer.of(panel_size * ins);
    float* w = outputs_buffer.of(panel_size * outs);
    for (int first = 0; first < tiles; first += GRADIENT_BLOCK) {
        const int last = std::min(tiles, first + GRADIENT_BLOCK), count = last - first;
        for (int panel = 0; panel < ins; panel++)
            transform_inputs(from, x, slope, first, last, position, panel, panel + 1, v + panel * panel_size);
        for (int panel = 0; panel < outs; panel++)
            transform_gradients(to, gradient, first, last, position, panel, w + panel * panel_size, bias_gradient);
        for (int i = 0; i < ins; i++)
            for (int o = 0; o < outs; o++)
                for (int p = 0; p < POSITIONS; p++) {
                    const float* a = v + i * panel_size + p * position;
                    const float* b = w + o * panel_size + p * position;
                    float* c = packed_gradient + (((size_t)i * outs + o) * POSITIONS + p) * PANEL * PANEL;
                    for (int strip = 0; strip < PANEL; strip += STRIP)
                        multiply<true>(PANEL, a, 1, PANEL, b + strip, PANEL, count, c + strip, PANEL);
                }
    }
}

// G g, 3 to 6.
static inline void kernel_in(const vec* g, int step, vec* to, int to_step) {
    const vec ends = g[0] + g[2 * step], wide = g[0] * (1 / 24.0f) + g[2 * step] * (1 / 6.0f);
    const vec middle = g[step];
    to[0] = 0.25f * g[0];
    to[to_step] = (-1 / 6.0f) * (ends + middle);
    to[2 * to_step] = (-1 / 6.0f) * (ends - middle);
    to[3 * to_step] = wide + (1 / 12.0f) * middle;
    to[4 * to_step] = wide - (1 / 12.0f) * middle;
    to[5 * to_step] = g[2 * step];
}

// G^T u, 6 to 3.
static inline void kernel_out(const vec* u, int step, vec* to, int to_step) {
    const vec near = u[step] + u[2 * step], far = u[3 * step] + u[4 * step];
    to[0] = 0.25f * u[0] - (1 / 6.0f) * near + (1 / 24.0f) * far;
    to[to_step] = (1 / 6.0f) * (u[2 * step] - u[step]) + (1 / 12.0f) * (u[3 * step] - u[4 * step]);
    to[2 * to_step] = (1 / 6.0f) * (far - near) + u[5 * step];
}

// U = G g G^T of layers of kernels, (outputs / 16, 36, inputs, 16) each, of (outputs, inputs, 3, 3); as for the
// gradient of the inputs if ``backwards``: maps exchanged, kernels turned by half a turn.
void winograd_pack(const float* kernels, int layers, int outputs, int inputs, int backwards, float* packed) {
    const int rows = backwards ? inputs : outputs, columns = backwards ? outputs : inputs;
    const size_t row_step = (size_t)9 * (backwards ? 1 : inputs), column_step = (size_t)9 * (backwards ? inputs : 1);
    for (int layer = 0; layer < layers; layer++, kernels += (size_t)outputs * inputs * 9)
        for (int row = 0; row < rows; row += LANES) {
            float* u =
                packed + ((size_t)layer * (rows / STRIP) + row / STRIP) * POSITIONS * columns * STRIP + row % STRIP;
            for (int column = 0; column < columns; column++) {
                vec g[9], half[WINDOW * 3];
                const float* kernel = kernels + row * row_step + column * column_step;
                for (int tap = 0; tap < 9; tap++)
                    for (int k = 0; k < LANES; k++) g[backwards ? 8 - tap : tap][k] = kernel[k * row_step + tap];
                for (int k = 0; k < 3; k++) kernel_in(g + k, 3, half + k, 3);
                for (int k = 0; k < WINDOW; k++) {
                    vec out[WINDOW];
                    kernel_in(half + 3 * k, 1, out, 1);
                    for (int p = 0; p < WINDOW; p++)
                        store(u + ((size_t)(k * WINDOW + p) * columns + column) * STRIP, out[p]);
                }
            }
        }
}

// The kernels' gradient, (outputs, inputs, 3, 3): G^T dU G.
void winograd_unpack(const float* packed_gradient, int outputs, int inputs, float* gradient) {
    for (int i = 0; i < inputs; i++)
        for (int o = 0; o < outputs; o += LANES) {
            const size_t panels = (size_t)(i / PANEL) * (outputs / PANEL) + o / PANEL;
            const float* u = packed_gradient + (panels * POSITIONS * PANEL + i % PANEL) * PANEL + o % PANEL;
            vec half[3 * WINDOW];
            for (int column = 0; column < WINDOW; column++) {
                vec m[WINDOW];
                for (int row = 0; row < WINDOW; row++)
                    m[row] = load(u + (size_t)(row * WINDOW + column) * PANEL * PANEL);
                kernel_out(m, 1, half + column, WINDOW);
            }
            for (int row = 0; row < 3; row++) {
                vec out[3];
                kernel_out(half + row * WINDOW, 1, out, 1);
                for (int column = 0; column < 3; column++)
                    for (int k = 0; k < LANES; k++)
                        gradient[((size_t)(o + k) * inputs + i) * 9 + row * 3 + column] = out[column][k];
            }
        }
}
}
