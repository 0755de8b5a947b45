// The colours that pixels of palette images stand for.
#pragma once

#include <cstdint>
#include <cstring>

#include "images/limits.hpp"
#include "images/read_bytes.hpp"

namespace fleetnet {

/// 256 colours; those that a file does not give are black.
class Palette {
   public:
    static constexpr std::size_t most = 256;

    /// The colours 0 to 255 of grey.
    static Palette grey() {
        Palette palette;
        for (int i = 0; i < 256; i++) palette.set(static_cast<std::size_t>(i), i, i, i);
        return palette;
    }

    /// `entry` bytes a colour, in the order blue, green, red (or the other way round). Throws
    /// Error(Code::image): more colours than there can be.
    static Palette of(Bytes stored, std::size_t entry, bool blue_first) {
        Palette palette;
        const std::size_t count = stored.size / entry;
        if (count > most) throw damaged("invalid palette size");
        for (std::size_t i = 0; i < count; i++) {
            const std::uint8_t* p = stored.data + i * entry;
            palette.set(i, p[blue_first ? 2 : 0], p[1], p[blue_first ? 0 : 2]);
        }
        return palette;
    }

    void set(std::size_t i, int red, int green, int blue) {
        rgb_[3 * i] = static_cast<std::uint8_t>(red);
        rgb_[3 * i + 1] = static_cast<std::uint8_t>(green);
        rgb_[3 * i + 2] = static_cast<std::uint8_t>(blue);
    }

    void put(std::uint8_t* out, std::uint8_t index) const {
        std::memcpy(out, rgb_ + std::size_t{3} * index, 3);
    }

   private:
    std::uint8_t rgb_[3 * most] = {};
};

}  // namespace fleetnet
