// The standard streams: results on standard output, a line for people on standard error.
#pragma once

#include <chrono>
#include <mutex>
#include <string>
#include <string_view>

namespace fleetnet::command {

/// Make every standard stream be there, and bytes go through it unchanged.
void set_up_streams();

enum class Stream { output, error };

bool is_terminal(Stream stream);

/// Return the columns of a table: the terminal's, or 100 where there is none.
int table_width();

/// What standard output did not accept.
struct WriteFailure {
    int reason;  ///< errno's

    /// Whether the reader of our output, such as head, has seen enough.
    bool closed() const;
};

/// Standard output. Rows are kept and written together, whole, so that a signal cuts none.
class Output {
   public:
    Output();

    /// Add a row with its line feed. Throws WriteFailure.
    void write(std::string_view row);
    /// Write what is kept. Throws WriteFailure.
    void flush();

    /// Write what is kept, from a thread that ends the process. Waits only so long for a write in
    /// progress, because nobody may be reading.
    void flush_at_last(std::chrono::milliseconds patience) noexcept;

   private:
    void flush_locked();

    std::timed_mutex mutex_;
    std::string kept_;
    bool at_once_;
};

/// Tell a person a line on standard error; what a terminal would act on is escaped.
void say(const std::string& line);
void warn(const std::string& line);
void say_error(const std::string& line);

}  // namespace fleetnet::command
