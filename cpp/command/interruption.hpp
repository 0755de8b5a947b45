// Ctrl-C and SIGTERM: the process ends at once, with the rows so far whole.
#pragma once

#include "streams.hpp"

namespace fleetnet::command {

/// From now on, end the process with code 130 or 143 when it is asked to end. What `output` keeps
/// is written first, for half a second at most. Call it before there are other threads.
void end_when_interrupted(Output& output);

/// Write nothing more and end the process, without waiting for what other threads do.
[[noreturn]] void end_now(int code) noexcept;

}  // namespace fleetnet::command
