// SPDX-License-Identifier: Apache-2.0
#include "monitor/main.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
    const char *name = argc > 0 && strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argc > 0 ? argv[0] : "";

    if (strcmp(name, "docker-init") == 0 || strcmp(name, "hatake-init") == 0)
        return init_main(argc, argv);
    if (argc != 1 || fcntl(3, F_GETFD) < 0 || fcntl(4, F_GETFD) < 0) {
        static const char text[] = "hatake-monitor is started by hataked, one for each container; it is not meant to be run by hand.\n";

        ssize_t n = write(2, text, sizeof text - 1);

        (void)n;
        return 2;
    }
    return monitor_main();
}
