// TIFF by libtiff: the usual kinds, of 1 to 16 bits a sample; what has no defined range, or would
// have to be guessed, is refused.
#include <tiffio.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "images/decoder.hpp"
#include "images/limits.hpp"
#include "images/orientation.hpp"
#include "images/palette.hpp"
#include "images/read_bytes.hpp"
#include "images/samples.hpp"

namespace fleetnet {
namespace {

/// A file in memory, for libtiff.
struct Memory {
    Bytes file;
    std::uint64_t place = 0;
};

tmsize_t read(thandle_t handle, void* out, tmsize_t size) {
    auto* memory = static_cast<Memory*>(handle);
    const Bytes bytes = slice(memory->file, static_cast<std::size_t>(memory->place),
                              static_cast<std::size_t>(size));
    if (bytes.size) std::memcpy(out, bytes.data, bytes.size);
    memory->place += bytes.size;
    return static_cast<tmsize_t>(bytes.size);
}

tmsize_t write_nothing(thandle_t, void*, tmsize_t) { return 0; }

toff_t seek(thandle_t handle, toff_t offset, int from) {
    auto* memory = static_cast<Memory*>(handle);
    const std::uint64_t base = from == SEEK_SET   ? 0
                               : from == SEEK_CUR ? memory->place
                                                  : memory->file.size;
    memory->place = base + offset;
    return memory->place;
}

int close_nothing(thandle_t) { return 0; }
toff_t size_of(thandle_t handle) { return static_cast<Memory*>(handle)->file.size; }

/// Return 1: what libtiff says goes nowhere else.
int say_nothing(TIFF*, void*, const char*, const char*, va_list) { return 1; }

struct Close {
    void operator()(TIFF* tiff) const { TIFFClose(tiff); }
};
using File = std::unique_ptr<TIFF, Close>;

File open(Memory& memory) {
    // No part of a picture that is allowed needs more.
    constexpr tmsize_t most = tmsize_t{1} << 30;
    TIFFOpenOptions* options = TIFFOpenOptionsAlloc();
    if (!options) throw std::bad_alloc();
    TIFFOpenOptionsSetMaxSingleMemAlloc(options, most);
    TIFFOpenOptionsSetErrorHandlerExtR(options, say_nothing, nullptr);
    TIFFOpenOptionsSetWarningHandlerExtR(options, say_nothing, nullptr);
    File file(TIFFClientOpenExt("", "rm", &memory, read, write_nothing, seek, close_nothing,
                                size_of, nullptr, nullptr, options));
    TIFFOpenOptionsFree(options);
    return file;
}

Error other_kind() {
    return image_error("this kind of TIFF is not in this build of fleetnet: save the image as PNG");
}

class Picture {
   public:
    Picture(TIFF* tiff, const Setup& setup) : tiff_(tiff) {
        TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width_);
        TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height_);
        if (width_ == 0 || height_ == 0) throw damaged_header(setup.format);
        check_size(width_, height_);
        TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &bits_);
        TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &samples_);
        TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &planar_);
        TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &sample_format_);
        TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &photometric_);
        check_kind();
        if (photometric_ == PHOTOMETRIC_PALETTE) read_palette();
        if (photometric_ == PHOTOMETRIC_YCBCR) read_as_rgb();
        used_bits_ = bits_ == 12 ? 12 : setup.sample_bits.value_or(16);
        pixels_ = Pixels(static_cast<int>(width_), static_cast<int>(height_));
    }

    Pixels decode() {
        if (TIFFIsTiled(tiff_))
            read_tiles();
        else
            read_strips();
        if (no_range_)
            throw image_error(
                "samples of 32 bits have no defined range; save the image as 8 or 16 bits");
        return std::move(pixels_);
    }

   private:
    void check_kind() {
        const bool grey = photometric_ <= PHOTOMETRIC_MINISBLACK;
        const bool rgb = photometric_ == PHOTOMETRIC_RGB;
        const bool palette = photometric_ == PHOTOMETRIC_PALETTE;
        colours_ = rgb || photometric_ == PHOTOMETRIC_YCBCR ? 3
                   : photometric_ == PHOTOMETRIC_SEPARATED  ? 4
                                                            : 1;
        no_range_ = grey && (bits_ == 32 || (bits_ == 16 && sample_format_ == SAMPLEFORMAT_INT));
        if (no_range_ && samples_ == 1) return;
        const bool byte = bits_ == 8, small = bits_ == 1 || bits_ == 2 || bits_ == 4;
        const bool known =
            sample_format_ == SAMPLEFORMAT_UINT &&
            (grey || palette ? byte || small || (grey && (bits_ == 12 || bits_ == 16))
             : rgb           ? byte || bits_ == 16
                             : colours_ > 1 && byte);
        if (!known || samples_ < colours_ || samples_ > colours_ + 3) throw other_kind();
        std::uint16_t count = 0;
        std::uint16_t* kinds = nullptr;
        TIFFGetFieldDefaulted(tiff_, TIFFTAG_EXTRASAMPLES, &count, &kinds);
        for (int i = 0; i < count; i++)
            if (kinds[i] == EXTRASAMPLE_ASSOCALPHA) throw other_kind();
        if (!byte && !(rgb && bits_ == 16) && samples_ != colours_) throw other_kind();
        if (planar_ == PLANARCONFIG_SEPARATE && bits_ < 8) throw other_kind();
    }

    void read_palette() {
        std::uint16_t *red = nullptr, *green = nullptr, *blue = nullptr;
        if (!TIFFGetField(tiff_, TIFFTAG_COLORMAP, &red, &green, &blue))
            throw damaged_header("TIFF");
        for (std::size_t i = 0; i < std::size_t{1} << bits_; i++)
            palette_.set(i, red[i] >> 8, green[i] >> 8, blue[i] >> 8);
    }

    void read_as_rgb() {
        std::uint16_t compression = 0;
        TIFFGetField(tiff_, TIFFTAG_COMPRESSION, &compression);
        if (compression != COMPRESSION_JPEG || planar_ != PLANARCONFIG_CONTIG) throw other_kind();
        TIFFSetField(tiff_, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    }

    std::size_t planes() const { return planar_ == PLANARCONFIG_SEPARATE ? samples_ : 1; }

    void reserve(tmsize_t size) {
        if (size <= 0) throw damaged_header("TIFF");
        // As Python's library. What the file does not fill is not touched: it costs no memory.
        if (size > std::numeric_limits<int>::max()) throw damaged("decoder error -9");
        part_ = Buffer(static_cast<std::size_t>(size));
    }

    void check_there(std::uint32_t number) const {
        if (TIFFGetStrileOffset(tiff_, number) == 0 && TIFFGetStrileByteCount(tiff_, number) == 0)
            throw damaged("strips or tiles of the picture are missing");
    }

    void read_strips() {
        std::uint32_t rows = 0;
        TIFFGetFieldDefaulted(tiff_, TIFFTAG_ROWSPERSTRIP, &rows);
        if (rows == 0) throw damaged_header("TIFF");
        rows = std::min(rows, height_);
        reserve(TIFFVStripSize(tiff_, rows));
        const std::size_t length = static_cast<std::size_t>(TIFFScanlineSize(tiff_));
        for (std::uint16_t plane = 0; plane < planes(); plane++) {
            for (std::uint32_t top = 0; top < height_; top += rows) {
                const std::uint32_t high = std::min(rows, height_ - top);
                const std::uint32_t strip = TIFFComputeStrip(tiff_, top, plane);
                check_there(strip);
                const auto wanted = static_cast<tmsize_t>(length * high);
                if (wanted > static_cast<tmsize_t>(part_.size()) ||
                    TIFFReadEncodedStrip(tiff_, strip, part_.data(), wanted) != wanted)
                    throw damaged("decoder error -2");
                put(plane, 0, top, width_, high, length);
            }
        }
    }

    void read_tiles() {
        std::uint32_t wide = 0, high = 0;
        TIFFGetField(tiff_, TIFFTAG_TILEWIDTH, &wide);
        TIFFGetField(tiff_, TIFFTAG_TILELENGTH, &high);
        if (wide == 0 || high == 0) throw damaged_header("TIFF");
        reserve(TIFFTileSize(tiff_));
        const std::size_t length = static_cast<std::size_t>(TIFFTileRowSize(tiff_));
        if (length * high > part_.size()) throw damaged_header("TIFF");
        for (std::uint16_t plane = 0; plane < planes(); plane++) {
            for (std::uint32_t top = 0; top < height_; top += high) {
                for (std::uint32_t left = 0; left < width_; left += wide) {
                    const std::uint32_t tile = TIFFComputeTile(tiff_, left, top, 0, plane);
                    check_there(tile);
                    const auto size = static_cast<tmsize_t>(part_.size());
                    if (TIFFReadEncodedTile(tiff_, tile, part_.data(), size) != size)
                        throw damaged("decoder error -2");
                    put(plane, left, top, std::min(wide, width_ - left),
                        std::min(high, height_ - top), length);
                    if (width_ - left <= wide) break;
                }
                if (height_ - top <= high) break;
            }
        }
    }

    /// Put the part that was read to its place.
    void put(std::uint16_t plane, std::uint32_t left, std::uint32_t top, std::uint32_t wide,
             std::uint32_t high, std::size_t length) {
        if (no_range_) return;
        const bool separate = planar_ == PLANARCONFIG_SEPARATE;
        const std::size_t step = separate ? 1 : samples_;
        if (separate && plane >= colours_) return;
        if (separate && colours_ == 4) throw other_kind();
        if ((wide * step * bits_ + 7) / 8 > length) throw damaged_header("TIFF");
        for (std::uint32_t y = 0; y < high; y++) {
            const std::uint8_t* row = part_.data() + length * y;
            std::uint8_t* out = pixels_.row(static_cast<int>(top + y)) + std::size_t{3} * left;
            for (std::size_t x = 0; x < wide; x++, out += 3) {
                if (separate && colours_ == 3)
                    out[plane] = sample(row, x);
                else
                    put_pixel(out, row, x * step);
            }
        }
    }

    std::uint8_t sample(const std::uint8_t* row, std::size_t number) const {
        if (bits_ == 8) return row[number];
        if (bits_ == 16) {
            std::uint16_t value;
            std::memcpy(&value, row + 2 * number, 2);  // in the processor's order
            return upper_eight(value, used_bits_);
        }
        if (bits_ == 12) {
            const std::uint8_t* p = row + number / 2 * 3;
            const unsigned value =
                number % 2 ? (p[1] & 15u) << 8 | p[2] : unsigned{p[0]} << 4 | p[1] >> 4;
            return upper_eight(value, 12);
        }
        const std::size_t at = number * bits_;
        const int most = (1 << bits_) - 1;
        const int value = row[at / 8] >> (8 - bits_ - static_cast<int>(at % 8)) & most;
        return static_cast<std::uint8_t>(
            photometric_ == PHOTOMETRIC_PALETTE ? value : value * (255 / most));
    }

    void put_pixel(std::uint8_t* out, const std::uint8_t* row, std::size_t first) const {
        if (colours_ == 1) {
            std::uint8_t value = sample(row, first);
            if (photometric_ == PHOTOMETRIC_PALETTE) {
                palette_.put(out, value);
                return;
            }
            if (photometric_ == PHOTOMETRIC_MINISWHITE && bits_ <= 8)
                value = static_cast<std::uint8_t>(255 - value);
            std::memset(out, value, 3);
            return;
        }
        const int light = colours_ == 4 ? 255 - sample(row, first + 3) : 255;
        for (std::size_t i = 0; i < 3; i++) {
            const int value = sample(row, first + i);
            const int product = value * light + 128;
            const int ink = ((product >> 8) + product) >> 8;
            out[i] = static_cast<std::uint8_t>(colours_ == 4 ? std::max(light - ink, 0) : value);
        }
    }

    TIFF* tiff_;
    std::uint32_t width_ = 0, height_ = 0;
    std::uint16_t bits_ = 1, samples_ = 1, planar_ = 1, sample_format_ = 1, photometric_ = 0;
    unsigned colours_ = 1;
    int used_bits_ = 16;
    bool no_range_ = false;
    Palette palette_;
    Buffer part_;
    Pixels pixels_;
};

}  // namespace

Decoded decode_tiff(Bytes file, const Setup& setup) {
    Memory memory{file, 0};
    const File tiff = open(memory);
    if (!tiff) throw damaged_header(setup.format);
    Decoded decoded;
    decoded.pixels = Picture(tiff.get(), setup).decode();
    std::uint32_t size = 0;
    const void* text = nullptr;
    std::optional<Bytes> xmp;
    if (TIFFGetField(tiff.get(), TIFFTAG_XMLPACKET, &size, &text))
        xmp = Bytes(static_cast<const std::uint8_t*>(text), size);
    decoded.orientation =
        orientation_of_tiff(file, static_cast<std::size_t>(TIFFCurrentDirOffset(tiff.get())), xmp);
    return decoded;
}

}  // namespace fleetnet
