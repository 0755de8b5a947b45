// Errors of libjpeg leave it by longjmp: functions that call setjmp hold no C++ object with a
// destructor, and neither does anything between them and libjpeg.
#include "images/jpeg_decode.hpp"

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>

extern "C" {
#include <jpeglib.h>
}

namespace fleetnet {
namespace {

/// Layers beside the part that is needed are decoded too: smoothing of colours uses neighbours, and
/// libjpeg treats the rim of what it decodes as the picture's.
constexpr int margin = 8;

struct Errors {
    jpeg_error_mgr base;  // first, so that libjpeg's pointer is also one to this
    std::jmp_buf jump;
};

[[noreturn]] void leave(j_common_ptr info) {
    std::longjmp(reinterpret_cast<Errors*>(info->err)->jump, 1);
}

void leave_at_warning(j_common_ptr info, int level) {
    if (level < 0) leave(info);
}

void say_nothing(j_common_ptr) {}

void set_up(jpeg_decompress_struct& info, Errors& errors) {
    std::memset(&info, 0, sizeof info);
    info.err = jpeg_std_error(&errors.base);
    errors.base.error_exit = leave;
    errors.base.output_message = say_nothing;
}

int divided(int side, int shrink) { return (side + shrink - 1) / shrink; }

/// Read rows up to `end` to their places in the picture, or past it where there is none.
void read_rows(jpeg_decompress_struct& info, JDIMENSION end, std::uint8_t* out, std::size_t stride,
               std::uint8_t* spare) {
    while (info.output_scanline < end) {
        JSAMPROW row = out ? out + stride * info.output_scanline : spare;
        jpeg_read_scanlines(&info, &row, 1);
    }
}

/// Pass over rows up to `end`: their bits are read and checked, but no pixels are made of them.
void skip_rows(jpeg_decompress_struct& info, JDIMENSION end) {
    if (info.output_scanline < end) jpeg_skip_scanlines(&info, end - info.output_scanline);
}

void read_part(jpeg_decompress_struct& info, const Region& needed, std::uint8_t* out,
               std::uint8_t* spare) {
    const auto width = static_cast<int>(info.output_width);
    const auto height = static_cast<int>(info.output_height);
    const std::size_t stride = static_cast<std::size_t>(width) * 3;
    const int left = std::max(needed.left - margin, 0);
    const int right = std::min(needed.right + margin, width);
    if (left > 0 || right < width) {
        auto start = static_cast<JDIMENSION>(left);
        auto wide = static_cast<JDIMENSION>(right - left);
        jpeg_crop_scanline(&info, &start, &wide);
        out += static_cast<std::size_t>(start) * 3;
    }
    skip_rows(info, static_cast<JDIMENSION>(std::max(needed.top - margin, 0)));
    read_rows(info, static_cast<JDIMENSION>(std::min(needed.bottom, height)), out, stride, nullptr);
    // The last row is read and not skipped: libjpeg does not look at what it skips at the end.
    skip_rows(info, info.output_height - 1);
    read_rows(info, info.output_height, nullptr, 0, spare);
}

struct Strict {
    Bytes file;
    int width, height, shrink;
    const Region* needed;
    std::uint8_t* out;
    std::uint8_t* spare;
};

bool run_strictly(const Strict* task) {
    jpeg_decompress_struct info;
    Errors errors;
    set_up(info, errors);
    errors.base.emit_message = leave_at_warning;
    if (setjmp(errors.jump)) {
        jpeg_destroy_decompress(&info);
        return false;
    }
    jpeg_create_decompress(&info);
    jpeg_mem_src(&info, task->file.data, static_cast<unsigned long>(task->file.size));
    jpeg_read_header(&info, TRUE);
    if (info.image_width != static_cast<JDIMENSION>(task->width) ||
        info.image_height != static_cast<JDIMENSION>(task->height))
        leave(reinterpret_cast<j_common_ptr>(&info));
    const bool cmyk = info.jpeg_color_space == JCS_CMYK || info.jpeg_color_space == JCS_YCCK;
    info.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    info.scale_num = 1;
    info.scale_denom = static_cast<unsigned>(task->shrink);
    jpeg_start_decompress(&info);
    if (cmyk && task->out) leave(reinterpret_cast<j_common_ptr>(&info));
    if (task->needed)
        read_part(info, *task->needed, task->out, task->spare);
    else
        read_rows(info, info.output_height, task->out,
                  static_cast<std::size_t>(info.output_width) * 3, task->spare);
    jpeg_finish_decompress(&info);
    jpeg_destroy_decompress(&info);
    return true;
}

/// A source that never has more than it was given: libjpeg stops and asks again.
struct Feed {
    jpeg_source_mgr base;
    long skip;  ///< bytes to pass over in what comes next
};

void do_nothing(j_decompress_ptr) {}
boolean wait_for_more(j_decompress_ptr) { return FALSE; }

void pass_over(j_decompress_ptr info, long bytes) {
    Feed* feed = reinterpret_cast<Feed*>(info->src);
    const long here = static_cast<long>(feed->base.bytes_in_buffer);
    const long passed = std::min(bytes, here);
    feed->skip = bytes - passed;
    feed->base.next_input_byte += passed;
    feed->base.bytes_in_buffer -= static_cast<std::size_t>(passed);
}

/// The state of decoding a file that is fed in blocks.
struct Lenient {
    jpeg_decompress_struct info;
    Errors errors;
    Feed feed;
    int step;
    int y;
    int width, height, layers, shrink;
    std::uint8_t* row;  ///< room for one row of stored samples, black at first
    std::uint8_t* out;
};

void write_row(const Lenient& task) {
    std::uint8_t* to =
        task.out + static_cast<std::size_t>(task.y) * static_cast<std::size_t>(task.width) * 3;
    const std::uint8_t* from = task.row;
    if (task.layers == 3) {
        std::memcpy(to, from, static_cast<std::size_t>(task.width) * 3);
        return;
    }
    for (int x = 0; x < task.width; x++, to += 3, from += task.layers) {
        if (task.layers == 1) {
            to[0] = to[1] = to[2] = from[0];
            continue;
        }
        // Adobe's programs store CMYK inverted, so black is its last sample as it is.
        for (int colour = 0; colour < 3; colour++) {
            const int product = (255 - from[colour]) * from[3] + 128;
            const int level = from[3] - (((product >> 8) + product) >> 8);
            to[colour] = static_cast<std::uint8_t>(level < 0 ? 0 : level);
        }
    }
}

void set_up_output(Lenient& task) {
    jpeg_decompress_struct& info = task.info;
    info.out_color_space = task.layers == 1 ? JCS_GRAYSCALE : task.layers == 3 ? JCS_RGB : JCS_CMYK;
    if (task.shrink > 1) {
        info.scale_num = 1;
        info.scale_denom = static_cast<unsigned>(task.shrink);
    }
}

enum class Step { more, done, broken };

/// Go on with what is in the feed.
Step advance(Lenient* task) {
    jpeg_decompress_struct* info = &task->info;
    if (setjmp(task->errors.jump)) return Step::broken;
    if (task->step == 0) {
        jpeg_create_decompress(info);
        info->src = &task->feed.base;
        task->step = 1;
    }
    if (task->feed.skip > 0) {
        pass_over(info, task->feed.skip);
        if (task->feed.skip > 0) return Step::more;
    }
    if (task->step == 1) {
        int found;
        do found = jpeg_read_header(info, FALSE);
        while (found == JPEG_HEADER_TABLES_ONLY);
        if (found == JPEG_SUSPENDED) return Step::more;
        set_up_output(*task);
        task->step = 2;
    }
    if (task->step == 2) {
        if (!jpeg_start_decompress(info)) return Step::more;
        const auto width = static_cast<std::size_t>(task->width);
        const auto samples = static_cast<std::size_t>(info->output_components) * info->output_width;
        if (info->output_width > width || samples > width * static_cast<std::size_t>(task->layers))
            return Step::broken;
        task->step = 3;
    }
    for (; task->y < task->height; task->y++) {
        JSAMPROW row = task->row;
        if (jpeg_read_scanlines(info, &row, 1) != 1) return Step::more;
        write_row(*task);
    }
    jpeg_finish_decompress(info);  // whether it finds the end does not matter
    return Step::done;
}

struct Free {
    void operator()(void* memory) const { std::free(memory); }
};
using Row = std::unique_ptr<std::uint8_t, Free>;

Row zeroed(std::size_t size) {
    Row row(static_cast<std::uint8_t*>(std::calloc(size, 1)));
    if (!row) throw std::bad_alloc();
    return row;
}

bool read_size(Bytes file, jpeg_decompress_struct* info, Errors* errors) {
    set_up(*info, *errors);
    errors->base.emit_message = leave_at_warning;
    if (setjmp(errors->jump)) return false;
    jpeg_create_decompress(info);
    jpeg_mem_src(info, file.data, static_cast<unsigned long>(file.size));
    return jpeg_read_header(info, FALSE) == JPEG_HEADER_OK;
}

}  // namespace

bool decode_jpeg_strictly(Bytes file, int width, int height, int shrink, const Region* needed,
                          std::uint8_t* out) {
    // Four samples a pixel, as CMYK has.
    const Row spare = zeroed(static_cast<std::size_t>(divided(width, shrink)) * 4);
    const Strict task{file, width, height, shrink, needed, out, spare.get()};
    return run_strictly(&task);
}

LenientResult decode_jpeg_leniently(Bytes file, int width, int height, int layers, int shrink,
                                    std::uint8_t* out) {
    constexpr std::size_t block = 65536;  // Pillow's: where a file is cut, libjpeg notices
    Lenient task;
    std::memset(&task, 0, sizeof task);
    set_up(task.info, task.errors);
    task.feed.base.init_source = do_nothing;
    task.feed.base.fill_input_buffer = wait_for_more;
    task.feed.base.skip_input_data = pass_over;
    task.feed.base.resync_to_restart = jpeg_resync_to_restart;
    task.feed.base.term_source = do_nothing;
    task.width = divided(width, shrink);
    task.height = divided(height, shrink);
    task.layers = layers;
    task.shrink = shrink;
    task.out = out;
    const Row row = zeroed(static_cast<std::size_t>(task.width) * static_cast<std::size_t>(layers));
    task.row = row.get();
    std::size_t start = 0, end = 0;
    LenientResult result{LenientResult::truncated, 0};
    while (true) {
        if (end == file.size) {
            result.left = end - start;
            break;
        }
        end = std::min(end + block, file.size);
        task.feed.base.next_input_byte = file.data + start;
        task.feed.base.bytes_in_buffer = end - start;
        const Step step = advance(&task);
        if (step != Step::more) {
            result.state = step == Step::done ? LenientResult::whole : LenientResult::broken;
            break;
        }
        start = static_cast<std::size_t>(task.feed.base.next_input_byte - file.data);
    }
    jpeg_destroy_decompress(&task.info);
    return result;
}

bool strict_jpeg_size(Bytes file, int& width, int& height) {
    jpeg_decompress_struct info;
    Errors errors;
    const bool read = read_size(file, &info, &errors);
    width = static_cast<int>(info.image_width);
    height = static_cast<int>(info.image_height);
    const bool known = read && info.jpeg_color_space != JCS_UNKNOWN;
    jpeg_destroy_decompress(&info);
    return known;
}

}  // namespace fleetnet
