// How pictures lie in memory, for both kinds of kernels.
#pragma once

#include <cstddef>
#include <cstdlib>

constexpr int PANEL = 64;  // maps that lie together

// Shape and layout of a picture that is cut into square tiles of TILE pixels. Shuffled, its 4 * 64 maps lie as
// PixelShuffle x2 leaves them, with the maps of each sub-pixel together: (N, 2H, 2W, 64).
template <int TILE>
struct TiledLayout {
    int pictures, height, width, maps, shuffled;

    size_t at(int picture, int y, int x, int panel) const {
        if (shuffled) {
            const size_t row = ((size_t)picture * height + y) * 2 + (panel >> 1);
            return (row * 2 * width + 2 * x + (panel & 1)) * PANEL;
        }
        return (((size_t)picture * height + y) * width + x) * maps + (size_t)panel * PANEL;
    }
    int tiles_across() const { return (width + TILE - 1) / TILE; }
    int tiles_down() const { return (height + TILE - 1) / TILE; }
    int tiles() const { return pictures * tiles_down() * tiles_across(); }
};

// Memory that is asked for once and grows.
template <typename T>
class Buffer {
  public:
    T* of(size_t count) {
        if (count > count_) {
            std::free(memory_);
            memory_ = (T*)std::aligned_alloc(64, (count * sizeof(T) + 63) / 64 * 64);
            count_ = count;
        }
        return memory_;
    }

  private:
    T* memory_ = nullptr;
    size_t count_ = 0;
};
