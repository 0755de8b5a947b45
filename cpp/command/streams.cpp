#include "streams.hpp"

#include <cerrno>
#include <cstdlib>
#include <optional>
#include <system_error>

#include "text.hpp"

#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#include <windows.h>
#else
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace fleetnet::command {

namespace {

constexpr std::size_t kept_at_most = 8192;  // bytes, as Python
constexpr int plain_width = 100;
constexpr int unknown_width = 80;

int number_of(Stream stream) { return stream == Stream::output ? 1 : 2; }

std::optional<std::string> environment(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

#ifdef _WIN32

HANDLE handle_of(Stream stream) {
    return GetStdHandle(stream == Stream::output ? STD_OUTPUT_HANDLE : STD_ERROR_HANDLE);
}

int reason_of(DWORD error) {
    if (error == ERROR_BROKEN_PIPE || error == ERROR_NO_DATA) return EPIPE;
    return error == ERROR_DISK_FULL || error == ERROR_HANDLE_DISK_FULL ? ENOSPC : EIO;
}

void write_all(Stream stream, std::string_view bytes) {
    const HANDLE handle = handle_of(stream);
    DWORD mode, written;
    if (GetConsoleMode(handle, &mode)) {
        // A console takes characters, whatever its code page is.
        const int length = static_cast<int>(bytes.size());
        std::wstring wide(bytes.size(), L'\0');
        const int units =
            MultiByteToWideChar(CP_UTF8, 0, bytes.data(), length, wide.data(), length);
        for (DWORD place = 0; place < static_cast<DWORD>(units); place += written) {
            if (!WriteConsoleW(handle, wide.data() + place, units - place, &written, nullptr)) {
                throw WriteFailure{reason_of(GetLastError())};
            }
        }
        return;
    }
    while (!bytes.empty()) {
        if (!WriteFile(handle, bytes.data(), static_cast<DWORD>(bytes.size()), &written, nullptr)) {
            throw WriteFailure{reason_of(GetLastError())};
        }
        bytes.remove_prefix(written);
    }
}

int terminal_width() {
    CONSOLE_SCREEN_BUFFER_INFO info;
    if (!GetConsoleScreenBufferInfo(handle_of(Stream::output), &info)) return 0;
    return info.srWindow.Right - info.srWindow.Left + 1;
}

#else

void write_all(Stream stream, std::string_view bytes) {
    const int number = number_of(stream);
    while (!bytes.empty()) {
        const ssize_t written = ::write(number, bytes.data(), bytes.size());
        if (written >= 0) {
            bytes.remove_prefix(static_cast<std::size_t>(written));
        } else if (errno == EAGAIN) {
            // Another process has made the pipe one that does not wait; we do.
            pollfd wanted{number, POLLOUT, 0};
            poll(&wanted, 1, -1);
        } else if (errno != EINTR) {
            throw WriteFailure{errno};
        }
    }
}

int terminal_width() {
    winsize size{};
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

#endif

/// Return a whole number as Python reads it in COLUMNS; 0 if it is none.
int whole(const std::string& text) {
    char* end = nullptr;
    const long number = std::strtol(text.c_str(), &end, 10);
    while (*end == ' ') ++end;
    return *end == '\0' && number > 0 && number < 1'000'000 ? static_cast<int>(number) : 0;
}

/// Print a line that begins with a mark, which has a colour on terminals that know it.
void say_marked(const std::string& mark, const char* style, const std::string& line) {
    const std::string term = environment("TERM").value_or("");
    const bool plain = !is_terminal(Stream::error) || term == "dumb" || term == "unknown";
    const bool coloured = !plain && !mark.empty() && environment("NO_COLOR").value_or("").empty();
    const std::string shown_mark = coloured ? std::string(style) + mark + "\x1b[0m" : mark;
    try {
        write_all(Stream::error, shown_mark + (mark.empty() ? "" : " ") + printable(line) + "\n");
    } catch (const WriteFailure&) {
        // There is nobody to tell.
    }
}

}  // namespace

bool is_terminal(Stream stream) {
#ifdef _WIN32
    return _isatty(number_of(stream)) != 0;
#else
    return isatty(number_of(stream)) != 0;
#endif
}

void set_up_streams() {
#ifdef _WIN32
    _setmode(0, _O_BINARY);
    _setmode(1, _O_BINARY);
    _setmode(2, _O_BINARY);
#else
    // A file opened later would get a closed stream's number, and the warnings of some library.
    for (int number = 0; number < 3; ++number) {
        struct stat status;
        // It takes the lowest number that is free.
        if (fstat(number, &status) != 0 && open("/dev/null", O_RDWR) < 0) break;
    }
#endif
}

int table_width() {
    const std::optional<std::string> columns = environment("COLUMNS");
    if (!columns && !is_terminal(Stream::output)) return plain_width;
    const int asked = columns ? whole(*columns) : 0;
    if (asked > 0) return asked;
    const int found = terminal_width();
    return found > 0 ? found : unknown_width;
}

bool WriteFailure::closed() const { return reason == EPIPE; }

Output::Output() : at_once_(is_terminal(Stream::output)) {}

void Output::write(std::string_view row) {
    const std::lock_guard lock(mutex_);
    kept_ += row;
    if (at_once_ || kept_.size() > kept_at_most) flush_locked();
}

void Output::flush() {
    const std::lock_guard lock(mutex_);
    flush_locked();
}

void Output::flush_locked() {
    // What was not accepted is not tried again.
    const std::string bytes = std::move(kept_);
    kept_.clear();
    write_all(Stream::output, bytes);
}

void Output::flush_at_last(std::chrono::milliseconds patience) noexcept {
    try {
        const std::unique_lock lock(mutex_, patience);
        if (lock) flush_locked();
    } catch (...) {
        // The process ends.
    }
}

void say(const std::string& line) { say_marked("", "", line); }
void warn(const std::string& line) { say_marked("warning:", "\x1b[33m", line); }
void say_error(const std::string& line) { say_marked("error:", "\x1b[1;31m", line); }

}  // namespace fleetnet::command
