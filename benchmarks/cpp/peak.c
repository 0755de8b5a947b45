/* Run a command and write its peak of resident memory, in KiB, to a file.

usage: peak FILE COMMAND [ARGUMENT ...]

What the system says of a process is no less than its parent had when it was started. So what is
measured needs a small parent.
*/
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **arguments) {
    struct rusage used;
    int status = 0;
    FILE *file;
    pid_t child;
    if (count < 3) {
        fprintf(stderr, "usage: peak FILE COMMAND [ARGUMENT ...]\n");
        return 2;
    }
    child = fork();
    if (child == 0) {
        execvp(arguments[2], arguments + 2);
        perror(arguments[2]);
        _exit(127);
    }
    if (child < 0 || wait4(child, &status, 0, &used) < 0 || !(file = fopen(arguments[1], "w"))) {
        perror("peak");
        return 2;
    }
    fprintf(file, "%ld\n", used.ru_maxrss);
    fclose(file);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
