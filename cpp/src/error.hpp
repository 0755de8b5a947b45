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

/// A bundle's file is not there, or is another one than the manifest describes: it is damaged, or
/// was replaced since the manifest was read.
class WrongFile : public Error {
   public:
    explicit WrongFile(const std::string& message) : Error(Code::bundle, message) {}
};

}  // namespace fleetnet
