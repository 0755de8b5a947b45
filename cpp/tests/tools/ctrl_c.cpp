// Windows: runs a command in a console of its own and presses Ctrl-C after its first line.
//
// Usage: fleetnet-ctrl-c PROGRAM ARGUMENTS…   Writes what the command wrote, and exits with its code.
#include <windows.h>

#include <cstdio>
#include <string>

namespace {

HANDLE started(std::wstring command, HANDLE output) {
    STARTUPINFOW setup{};
    setup.cb = sizeof(setup);
    setup.dwFlags = STARTF_USESTDHANDLES;
    setup.hStdOutput = output;
    setup.hStdError = GetStdHandle(STD_ERROR_HANDLE);
    setup.hStdInput = GetStdHandle(STD_INPUT_HANDLE);
    PROCESS_INFORMATION process{};
    if (!CreateProcessW(nullptr, command.data(), nullptr, nullptr, TRUE, 0, nullptr, nullptr,
                        &setup, &process)) {
        return nullptr;
    }
    CloseHandle(process.hThread);
    return process.hProcess;
}

}  // namespace

int main() {
    FreeConsole();
    AllocConsole();
    std::wstring command = GetCommandLineW();
    // Without this program's name, which has no spaces in the tests.
    command = command.substr(command.find(command[0] == L'"' ? L"\" " : L" ") + 1);
    command = command.substr(command.find_first_not_of(L' '));

    SECURITY_ATTRIBUTES inherited{sizeof(inherited), nullptr, TRUE};
    HANDLE read = nullptr, write = nullptr;
    CreatePipe(&read, &write, &inherited, 0);
    SetHandleInformation(read, HANDLE_FLAG_INHERIT, 0);
    const HANDLE process = started(command, write);
    CloseHandle(write);
    if (!process) {
        std::fprintf(stderr, "cannot start it: %lu\n", GetLastError());
        return 99;
    }
    // This program itself goes on. After the start: what is started would inherit it.
    SetConsoleCtrlHandler(nullptr, TRUE);

    bool pressed = false;
    char piece[4096];
    DWORD size = 0;
    while (ReadFile(read, piece, sizeof(piece), &size, nullptr) && size > 0) {
        std::fwrite(piece, 1, size, stdout);
        std::fflush(stdout);
        if (!pressed && std::string(piece, size).find('\n') != std::string::npos) {
            pressed = true;
            if (!GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0)) {
                std::fprintf(stderr, "no Ctrl-C: %lu\n", GetLastError());
                return 98;
            }
        }
    }
    WaitForSingleObject(process, INFINITE);
    DWORD code = 97;
    GetExitCodeProcess(process, &code);
    return static_cast<int>(code);
}
