#include "interruption.hpp"

#include <cstdlib>

#ifdef _WIN32
#include <windows.h>
#else
#include <signal.h>

#include <system_error>
#include <thread>
#endif

namespace fleetnet::command {

namespace {

constexpr std::chrono::milliseconds patience{500};

}  // namespace

#ifdef _WIN32

namespace {

Output* kept = nullptr;

BOOL WINAPI interrupted(DWORD kind) {
    kept->flush_at_last(patience);
    end_now(kind == CTRL_C_EVENT || kind == CTRL_BREAK_EVENT ? 130 : 143);
}

}  // namespace

void end_when_interrupted(Output& output) {
    kept = &output;
    SetConsoleCtrlHandler(interrupted, TRUE);
}

void end_now(int code) noexcept {
    // Libraries' ends, which ExitProcess calls, may wait for threads that are gone.
    TerminateProcess(GetCurrentProcess(), static_cast<UINT>(code));
    std::abort();
}

#else

void end_when_interrupted(Output& output) {
    // A write to a closed pipe, or beyond a limit, is to be an error as any other.
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    sigset_t awaited;
    sigemptyset(&awaited);
    for (const int number : {SIGINT, SIGTERM}) {
        struct sigaction before;
        // A shell has its background jobs ignore Ctrl-C.
        const bool ignored =
            sigaction(number, nullptr, &before) == 0 && before.sa_handler == SIG_IGN;
        if (!ignored) sigaddset(&awaited, number);
    }
    // All threads inherit this, so that the signals come to the one that waits for them. No call
    // of any library is interrupted, and the one that waits may do what a handler may not.
    pthread_sigmask(SIG_BLOCK, &awaited, nullptr);
    try {
        std::thread([&output, awaited] {
            int number = 0;
            while (sigwait(&awaited, &number) != 0) {
            }
            output.flush_at_last(patience);
            end_now(128 + number);
        }).detach();
    } catch (const std::system_error&) {
        // The system gives no thread: the signals end the process as they usually do.
        pthread_sigmask(SIG_UNBLOCK, &awaited, nullptr);
    }
}

void end_now(int code) noexcept { std::_Exit(code); }

#endif

}  // namespace fleetnet::command
