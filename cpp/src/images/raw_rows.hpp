// Rows of samples that are stored as they are.
#pragma once

#include <cstddef>
#include <string>

#include "images/limits.hpp"
#include "images/read_bytes.hpp"

namespace fleetnet {

struct RawRows {
    std::size_t length = 0;  ///< of a row, in bytes
    std::size_t stride = 0;  ///< from one row to the next; 0: there is nothing between them
    bool bottom_up = false;
};

inline Error truncated(std::size_t left) {
    return damaged("image file is truncated (" + std::to_string(left) + " bytes not processed)");
}

/// Call `take` with each row's number, from the top, and its bytes. Throws Error(Code::image).
template <typename Take>
void each_row(Bytes data, const RawRows& rows, int height, Take take) {
    if (rows.stride != 0 && rows.stride < rows.length)
        throw damaged("codec configuration error when reading image file");
    const std::size_t gap = rows.stride ? rows.stride - rows.length : 0;
    // A file that has no byte of it is as one that is cut off.
    for (int row = 0; row < height; row++) {
        if (row > 0) {
            if (data.size < gap) throw truncated(data.size);
            data = slice(data, gap);
        }
        if (data.size < rows.length || data.size == 0) throw truncated(data.size);
        take(rows.bottom_up ? height - 1 - row : row, data.data);
        data = slice(data, rows.length);
    }
}

inline std::size_t bytes_of(std::int64_t pixels, int bits) {
    return (static_cast<std::size_t>(pixels) * static_cast<std::size_t>(bits) + 7) / 8;
}

}  // namespace fleetnet
