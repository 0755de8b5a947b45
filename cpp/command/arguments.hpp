// What was asked for on the command line, read by the rules of the Python command.
#pragma once

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace fleetnet::command {

struct Arguments {
    std::string bundle;
    std::vector<std::string> images;
    int top_k = 5;
    std::optional<std::string> engine;
    std::optional<std::string> precision;
    std::optional<std::string> device;
    std::optional<int> threads;
    std::optional<int> batch_size;
    std::optional<std::string> labels;
    std::optional<std::string> reject;
    bool exact = false;
    bool json = false;
    bool csv = false;
    bool help = false;
    bool version = false;

    /// Read a command line, without the program's name. Throws UsageError.
    ///
    /// With `help` or `version`, nothing else of it is checked.
    static Arguments parse(const std::vector<std::string>& words);
};

/// A command line that means nothing; the message is one line.
class UsageError : public std::runtime_error {
   public:
    using std::runtime_error::runtime_error;
};

/// What `--help` prints.
extern const char* const help;

}  // namespace fleetnet::command
