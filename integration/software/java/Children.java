// Child processes by ProcessBuilder: every kind of redirection, statuses, signals, pipelines.

import java.io.File;
import java.io.IOException;
import java.lang.ProcessBuilder.Redirect;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

public class Children {
    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "redirects" -> redirects();
            case "statuses" -> statuses();
            case "pipeline" -> pipeline();
            case "many" -> many();
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    private static ProcessBuilder shell(String script) {
        return new ProcessBuilder("sh", "-c", script);
    }

    private static String output(Process process) throws IOException {
        return new String(process.getInputStream().readAllBytes());
    }

    private static void redirects() throws Exception {
        Process cat = new ProcessBuilder("cat").start();
        try (var in = cat.getOutputStream()) {
            in.write("through a pipe\n".getBytes());
        }
        System.out.print(output(cat));
        System.out.print(output(shell("echo out; echo err >&2").redirectErrorStream(true).start()));

        File file = new File("redirected");
        shell("echo one").redirectOutput(file).start().waitFor();
        shell("echo two").redirectOutput(Redirect.appendTo(file)).start().waitFor();
        System.out.print(output(new ProcessBuilder("cat").redirectInput(file).start()));
        shell("echo gone; echo kept >&2").redirectOutput(Redirect.DISCARD)
            .redirectError(Redirect.INHERIT).redirectErrorStream(false).start().waitFor();
        System.out.flush();
        shell("echo inherited").inheritIO().start().waitFor();

        Path dir = Files.createDirectory(Path.of("elsewhere"));
        ProcessBuilder builder = shell("basename $PWD; echo $NAME");
        builder.directory(dir.toFile()).environment().put("NAME", "a value");
        System.out.print(output(builder.start()));
        System.out.print(output(shell("ls /proc/self/fd | wc -l").start()));
    }

    private static void statuses() throws Exception {
        System.out.println("exit " + shell("exit 7").start().waitFor());
        System.out.println("signal " + shell("kill -SEGV $$").start().waitFor());
        Process sleeper = new ProcessBuilder("sleep", "1000").start();
        System.out.println("ended " + sleeper.waitFor(10, TimeUnit.MILLISECONDS));
        sleeper.destroy();
        System.out.println("destroyed " + sleeper.waitFor());
        sleeper = new ProcessBuilder("sleep", "1000").start();
        sleeper.destroyForcibly();
        System.out.println("forcibly " + sleeper.waitFor());
        Process quick = shell("exit 3").start();
        System.out.println("on exit " + quick.onExit().thenApply(Process::exitValue).get());
        for (String program : List.of("/nonexistent/program", "/etc/passwd", "/etc")) {
            try {
                System.out.println("started " + new ProcessBuilder(program).start());
            } catch (IOException e) {
                System.out.println(e.getMessage().replaceAll(".*error=", "error="));
            }
        }
    }

    private static void pipeline() throws Exception {
        List<Process> all = ProcessBuilder.startPipeline(List.of(
            new ProcessBuilder("seq", "1000"), new ProcessBuilder("grep", "7"), new ProcessBuilder("wc", "-l")));
        System.out.print(output(all.get(2)));
        for (Process process : all) {
            System.out.println("status " + process.waitFor());
        }
        ProcessHandle child = new ProcessBuilder("sleep", "1000").start().toHandle();
        System.out.println("children " + ProcessHandle.current().children().count());
        System.out.println("command " + child.info().command().orElse("unknown"));
        child.destroy();
        child.onExit().get();
        System.out.println("alive " + child.isAlive());
    }

    /** Threads that start children all at once: each child has its own output and status. */
    private static void many() throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(8);
        AtomicInteger right = new AtomicInteger();
        for (int i = 0; i < 80; i++) {
            int number = i;
            pool.submit(() -> {
                Process process = shell("echo " + number + "; exit " + number).start();
                boolean equal = output(process).equals(number + "\n");
                return process.waitFor() == number && equal ? right.incrementAndGet() : 0;
            });
        }
        pool.shutdown();
        System.out.println("ended " + pool.awaitTermination(5, TimeUnit.MINUTES) + " right " + right);
    }
}
