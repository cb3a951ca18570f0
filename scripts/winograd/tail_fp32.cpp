// The generator's end, a PReLU and a 9x9 convolution of 64 maps to three colours, by F(3x3, 3x3) (Lavin and Gray 2016).
// One thread.
//
// Nine taps each way are three groups of three, so a 9x9 kernel is nine of 3x3. The group (i, j) of the kernel sees a
// window of 5x5 that begins 3i rows and 3j columns further on, and tiles of outputs are 3x3: all nine groups share the
// same windows, one for each tile and two more each way. Where tile t is, the products of group i are those of window
// t + i. The 27 of them, (i, j, colour), are computed together, in 32 lanes.

#include "vectors_fp32.h"

constexpr int KERNEL = 9, HALF = KERNEL / 2, COLOURS = 3, GROUPS = 3, TILE = 3, WINDOW = 5;
constexpr int POSITIONS = WINDOW * WINDOW;
constexpr int SUMS = 32;                         // lanes of (i, j, colour)
constexpr int USED = GROUPS * GROUPS * COLOURS;  // of which 27 are used
constexpr int BY_GROUP = GROUPS * COLOURS;       // (j, colour)
constexpr int GAP = 16;  // between positions, so that they do not fall into one set of the cache

typedef float pixel __attribute__((vector_size(16)));  // three colours and what lies behind them
typedef float unaligned_pixel __attribute__((vector_size(16), aligned(4), may_alias));

// B^T d, 5 to 5, at the points 0, 1, -1, 2 and infinity.
template <typename V>
static inline void window_in(const V* d, int step, V* to, int to_step) {
    const V d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step];
    to[0] = 2.0f * (d0 - d2) + (d3 - d1);
    to[to_step] = d3 - d2 - 2.0f * d1;
    to[2 * to_step] = d3 - 3.0f * d2 + 2.0f * d1;
    to[3 * to_step] = d3 - d1;
    to[4 * to_step] = 2.0f * (d1 - d3) + (d4 - d2);
}

// A^T m, 5 to 3.
template <typename V>
static inline void tile_out(const V* m, int step, V* to, int to_step) {
    const V sum = m[step] + m[2 * step], difference = m[step] - m[2 * step];
    to[0] = m[0] + sum + m[3 * step];
    to[to_step] = difference + 2.0f * m[3 * step];
    to[2 * to_step] = sum + 4.0f * m[3 * step] + m[4 * step];
}

// A y, 3 to 5.
template <typename V>
static inline void tile_in(const V* y, int step, V* to, int to_step) {
    const V y0 = y[0], y1 = y[step], y2 = y[2 * step], even = y0 + y2;
    to[0] = y0;
    to[to_step] = even + y1;
    to[2 * to_step] = even - y1;
    to[3 * to_step] = y0 + 2.0f * y1 + 4.0f * y2;
    to[4 * to_step] = y2;
}

// A picture's size, and how many tiles and windows that makes.
struct Size {
    int height, width;

    int tiles_down() const { return (height + TILE - 1) / TILE; }
    int tiles_across() const { return (width + TILE - 1) / TILE; }
    int windows_down() const { return tiles_down() + GROUPS - 1; }
    int windows_across() const { return tiles_across() + GROUPS - 1; }
};

// V of one window of x, (H, W, 64), after its PReLU; it begins at (top, left), and lies inside the picture if WHOLE.
template <bool WHOLE>
static inline void transform_window(const float* x, Size size, int top, int left, vec slope, size_t position,
                                    float* target) {
    for (int map = 0; map < PANEL; map += LANES, target += LANES) {
        vec d[POSITIONS], half[POSITIONS];
#pragma GCC unroll 5
        for (int column = 0; column < WINDOW; column++) {
#pragma GCC unroll 5
            for (int row = 0; row < WINDOW; row++) {
                const int y = top + row, at_x = left + column;
                const bool inside = WHOLE || (y >= 0 && y < size.height && at_x >= 0 && at_x < size.width);
                d[row * WINDOW + column] =
                    inside ? prelu(load(x + ((size_t)y * size.width + at_x) * PANEL + map), slope) : vec{};
            }
            window_in(d + column, WINDOW, half + column, WINDOW);
        }
#pragma GCC unroll 5
        for (int row = 0; row < WINDOW; row++) {
            vec out[WINDOW];
            window_in(half + row * WINDOW, 1, out, 1);
#pragma GCC unroll 5
            for (int column = 0; column < WINDOW; column++)
                store(target + (row * WINDOW + column) * position, out[column]);
        }
    }
}

// V of a row of windows, (25, windows, 64).
static void transform_windows(const float* x, Size size, int window_row, vec slope, size_t position,
                              float* transformed) {
    const int top = TILE * window_row - HALF;
    for (int window = 0; window < size.windows_across(); window++) {
        const int left = TILE * window - HALF;
        const bool whole = top >= 0 && left >= 0 && top + WINDOW <= size.height && left + WINDOW <= size.width;
        const auto transform = whole ? transform_window<true> : transform_window<false>;
        transform(x, size, top, left, slope, position, transformed + (size_t)window * PANEL);
    }
}

// A pixel of a gradient, (H, W, 3), and zero beside it; zero outside the picture.
static inline pixel colours(const float* gradient, Size size, int y, int x) {
    if (y < 0 || y >= size.height || x < 0 || x >= size.width) return pixel{};
    const float* from = gradient + ((size_t)y * size.width + x) * COLOURS;
    return pixel{from[0], from[1], from[2], 0.0f};
}

// B^T dY B of a row of windows of a gradient: (25, windows, 3), with one more value at the end of each position.
static void transform_gradient_windows(const float* gradient, Size size, int window_row, size_t position, float* to) {
    for (int window = 0; window < size.windows_across(); window++) {
        pixel half[POSITIONS];
        for (int column = 0; column < WINDOW; column++) {
            pixel d[WINDOW];
            for (int row = 0; row < WINDOW; row++)
                d[row] = colours(gradient, size, TILE * window_row - HALF + row, TILE * window - HALF + column);
            window_in(d, 1, half + column, WINDOW);
        }
        for (int row = 0; row < WINDOW; row++) {
            pixel out[WINDOW];
            window_in(half + row * WINDOW, 1, out, 1);
            for (int column = 0; column < WINDOW; column++)
                *(unaligned_pixel*)(to + (row * WINDOW + column) * position + window * COLOURS) = out[column];
        }
    }
}

// A dY A^T of a row of tiles of a gradient: (25, tiles, 4).
static void transform_gradient_tiles(const float* gradient, Size size, int tile_row, float* to) {
    for (int tile = 0; tile < size.tiles_across(); tile++) {
        pixel half[WINDOW * TILE];
        for (int column = 0; column < TILE; column++) {
            pixel y[TILE];
            for (int row = 0; row < TILE; row++)
                y[row] = colours(gradient, size, TILE * tile_row + row, TILE * tile + column);
            tile_in(y, 1, half + column, TILE);
        }
        for (int row = 0; row < WINDOW; row++) {
            pixel out[WINDOW];
            tile_in(half + row * TILE, 1, out, 1);
            for (int column = 0; column < WINDOW; column++)
                *(unaligned_pixel*)(to + ((size_t)(row * WINDOW + column) * size.tiles_across() + tile) * 4) =
                    out[column];
        }
    }
}

// (ROWS, 16) of C, the sum over the three groups of rows of nine values, three apart, times B, (27, 16).
template <int ROWS>
static inline void multiply_groups(const float* const (&groups)[GROUPS], const float* b, float* c) {
    vec sums[ROWS][2];
#pragma GCC unroll 6
    for (int row = 0; row < ROWS; row++) sums[row][0] = sums[row][1] = vec{};
    for (int group = 0; group < GROUPS; group++) {
        const float* a = groups[group];
        for (int k = 0; k < BY_GROUP; k++, b += STRIP) {
            const vec low = load(b), high = load(b + LANES);
#pragma GCC unroll 6
            for (int row = 0; row < ROWS; row++) {
                const vec left = repeat(a[row * COLOURS + k]);
                sums[row][0] += left * low;
                sums[row][1] += left * high;
            }
        }
    }
#pragma GCC unroll 6
    for (int row = 0; row < ROWS; row++) {
        store(c + row * STRIP, sums[row][0]);
        store(c + row * STRIP + LANES, sums[row][1]);
    }
}

extern "C" {

// y, (N, H, W, 3) without a bias, of x, (N, H, W, 64) before the PReLU; U is (2, 25, 64, 16), lanes of 16.
void tail_forward(const float* x, int pictures, int height, int width, float slope, const float* packed, float* y) {
    static Buffer<float> windows_buffer, products_buffer, sums_buffer;
    const Size size{height, width};
    const int windows = size.windows_across(), tiles = size.tiles_across();
    const size_t v_position = (size_t)windows * PANEL + GAP, p_position = (size_t)windows * SUMS + GAP;
    const size_t sums_row = (size_t)POSITIONS * tiles * 4;
    float* v = windows_buffer.of(POSITIONS * v_position);
    float* products = products_buffer.of(POSITIONS * p_position);
    float* sums = sums_buffer.of(GROUPS * sums_row);  // M of three rows of tiles, (25, tiles, 4) each
    for (int picture = 0; picture < pictures; picture++, x += (size_t)height * width * PANEL)
        for (int window_row = 0; window_row < size.windows_down(); window_row++) {
            transform_windows(x, size, window_row, repeat(slope), v_position, v);
            for (int strip = 0; strip < SUMS / STRIP; strip++)
                for (int p = 0; p < POSITIONS; p++)
                    multiply<false>(windows, v + p * v_position, PANEL, 1,
                                    packed + ((size_t)strip * POSITIONS + p) * PANEL * STRIP, STRIP, PANEL,
                                    products + p * p_position + strip * STRIP, SUMS);
            for (int i = 0; i < GROUPS; i++) {
                const int tile_row = window_row - i;
                if (tile_row < 0 || tile_row >= size.tiles_down()) continue;
                float* m = sums + tile_row % GROUPS * sums_row;
                for (int p = 0; p < POSITIONS; p++)
                    for (int tile = 0; tile < tiles; tile++) {
                        const float* from = products + p * p_position + (size_t)tile * SUMS + i * BY_GROUP;
                        pixel* to = (pixel*)(m + ((size_t)p * tiles + tile) * 4);
                        const pixel before = i == 0 ? pixel{} : *to;  // the first group meets a row first
                        *to = before + *(const unaligned_pixel*)from +
                              *(const unaligned_pixel*)(from + SUMS + COLOURS) +
                              *(const unaligned_pixel*)(from + 2 * (SUMS + COLOURS));
                    }
            }
            const int finished = window_row - (GROUPS - 1);
            if (finished < 0) continue;
            const pixel* m = (const pixel*)(sums + finished % GROUPS * sums_row);
            for (int tile = 0; tile < tiles; tile++) {
                pixel half[TILE * WINDOW], out[TILE * TILE];
                for (int column = 0; column < WINDOW; column++)
                    tile_out(m + (size_t)column * tiles + tile, WINDOW * tiles, half + column, WINDOW);
                for (int row = 0; row < TILE; row++) tile_out(half + row * WINDOW, 1, out + row * TILE, 1);
                for (int row = 0; row < std::min(TILE, height - TILE * finished); row++)
                    for (int column = 0; column < std::min(TILE, width - TILE * tile); column++) {
                        const size_t at =
                            ((size_t)picture * height + TILE * finished + row) * width + TILE * tile + column;
                        for (int colour = 0; colour < COLOURS; colour++)
                            y[at * COLOURS + colour] = out[row * TILE + column][colour];
                    }
            }
        }
}

// Gradients of x, (N, H, W, 64), and, added, of U, (25, 64, 32), and of the slope. ``packed`` is of the kernels turned
// by half a turn, (4, 25, 27, 16), maps of 16.
void tail_backward(const float* x, const float* gradient, int pictures, int height, int width, float slope,
                   const float* packed, float* x_gradient, float* packed_gradient, double* slope_gradient) {
    static Buffer<float> windows_buffer, gradient_windows_buffer, tiles_buffer, gathered_buffer, products_buffer;
    const Size size{height, width};
    const int windows = size.windows_across(), tiles = size.tiles_across();
    const size_t v_position = (size_t)windows * PANEL + GAP, g_position = (size_t)windows * COLOURS + 1;
    const size_t g_row = POSITIONS * g_position, w_row = (size_t)POSITIONS * tiles * 4;
    const size_t m_position = (size_t)tiles * STRIP + GAP;
    float* v = windows_buffer.of(POSITIONS * v_position);
    float* gradient_windows = gradient_windows_buffer.of(GROUPS * g_row);  // of three rows
    float* gradient_tiles = tiles_buffer.of(GROUPS * w_row + 4);           // of three rows
    float* gathered = gathered_buffer.of((size_t)windows * SUMS);          // of one position, (windows, 32)
    float* products = products_buffer.of(POSITIONS * m_position);
    const vec slopes = repeat(slope);
    for (int picture = 0; picture < pictures; picture++) {
        const size_t start = (size_t)picture * height * width;
        const float* of_y = gradient + start * COLOURS;
        for (int row = 0; row < size.windows_down(); row++) {
            // of U: windows of x with the tiles of the gradient that each group saw them for
            transform_windows(x + start * PANEL, size, row, slopes, v_position, v);
            if (row < size.tiles_down())
                transform_gradient_tiles(of_y, size, row, gradient_tiles + row % GROUPS * w_row);
            for (int p = 0; p < POSITIONS; p++) {
                std::fill(gathered, gathered + (size_t)windows * SUMS, 0.0f);
                for (int i = 0; i < GROUPS; i++) {
                    const int tile_row = row - i;
                    if (tile_row < 0 || tile_row >= size.tiles_down()) continue;
                    const float* from = gradient_tiles + tile_row % GROUPS * w_row + (size_t)p * tiles * 4;
                    for (int j = 0; j < GROUPS; j++)  // the fourth value, zero, falls where the next group belongs
                        for (int tile = 0; tile < tiles; tile++)
                            *(unaligned_pixel*)(gathered + (size_t)(tile + j) * SUMS + i * BY_GROUP + j * COLOURS) =
                                *(const unaligned_pixel*)(from + tile * 4);
                }
                float* c = packed_gradient + (size_t)p * PANEL * SUMS;
                for (int strip = 0; strip < SUMS; strip += STRIP)
                    multiply<true>(PANEL, v + p * v_position, 1, PANEL, gathered + strip, SUMS, windows, c + strip,
                                   SUMS);
            }

            // of x: three rows of the gradient's windows make a row of tiles
            transform_gradient_windows(of_y, size, row, g_position, gradient_windows + row % GROUPS * g_row);
            const int tile_row = row - (GROUPS - 1);
            if (tile_row < 0) continue;
            for (int strip = 0; strip < PANEL / STRIP; strip++) {
                for (int p = 0; p < POSITIONS; p++) {
                    const float* u = packed + ((size_t)strip * POSITIONS + p) * USED * STRIP;
                    const float* groups[GROUPS];
                    for (int i = 0; i < GROUPS; i++)
                        groups[i] = gradient_windows + (tile_row + i) % GROUPS * g_row + p * g_position;
                    float* c = products + p * m_position;
                    int tile = 0;
                    for (; tile + 6 <= tiles; tile += 6)
                        multiply_groups<6>(
                            {groups[0] + tile * COLOURS, groups[1] + tile * COLOURS, groups[2] + tile * COLOURS}, u,
                            c + (size_t)tile * STRIP);
                    for (; tile < tiles; tile++)
                        multiply_groups<1>(
                            {groups[0] + tile * COLOURS, groups[1] + tile * COLOURS, groups[2] + tile * COLOURS}, u,
                            c + (size_t)tile * STRIP);
                }
                vec of_slope{};
                const int rows = std::min(TILE, height - TILE * tile_row);
                for (int tile = 0; tile < tiles; tile++)
                    for (int map = 0; map < STRIP; map += LANES) {
                        const int columns = std::min(TILE, width - TILE * tile);
                        vec half[TILE * WINDOW];
#pragma GCC unroll 5
                        for (int column = 0; column < WINDOW; column++) {
                            vec m[WINDOW];
#pragma GCC unroll 5
                            for (int k = 0; k < WINDOW; k++)
                                m[k] = load(products + (k * WINDOW + column) * m_position + (size_t)tile * STRIP + map);
                            tile_out(m, 1, half + column, WINDOW);
                        }
#pragma GCC unroll 3
                        for (int k = 0; k < TILE; k++) {
                            if (k >= rows) break;
                            vec out[TILE];
                            tile_out(half + k * WINDOW, 1, out, 1);
#pragma GCC unroll 3
                            for (int column = 0; column < TILE; column++) {
                                if (column >= columns) break;
                                const size_t at = start + (size_t)(TILE * tile_row + k) * width + TILE * tile + column;
                                const vec before = load(x + at * PANEL + strip * STRIP + map);
                                of_slope += out[column] * negative_part(before);
                                store(x_gradient + at * PANEL + strip * STRIP + map,
                                      prelu_gradient(out[column], before, slopes));
                            }
                        }
                    }
                *slope_gradient += sum(of_slope);
            }
        }
    }
}
}
