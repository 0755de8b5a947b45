// What goes wrong, as one line for people and a code for programs.
#pragma once

#include <stdexcept>
#include <string>

namespace fleetnet {

/// What kind of thing was wrong; the C interface and the command make their own codes of it.
enum class Code {
    argument,  ///< the caller's request: an unknown engine, a precision that is not offered
    bundle,    ///< missing, damaged, or newer than this library
    image,     ///< cannot be read or decoded
    data,      ///< a folder or glob without images
    engine,    ///< the runtime is not there or fails
    memory,
};

/// The message is one line, says what to do, and is the Python package's to the letter.
class Error : public std::runtime_error {
   public:
    Error(Code code, const std::string& message) : std::runtime_error(message), code_(code) {}
    Code code() const noexcept { return code_; }

   private:
    Code code_;
};

}  // namespace fleetnet
