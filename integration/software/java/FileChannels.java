// Files by java.nio: mappings, locks, transfers, vectors, attributes, a watched directory.

import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.StandardWatchEventKinds;
import java.nio.file.WatchKey;
import java.nio.file.WatchService;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;

public class FileChannels {
    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "map" -> map();
            case "lock" -> lock();
            case "locked" -> locked();
            case "transfer" -> transfer();
            case "attributes" -> attributes();
            case "watch" -> watch();
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    private static void map() throws Exception {
        int size = 8 << 20;
        try (FileChannel file = open("mapped")) {
            MappedByteBuffer shared = file.map(FileChannel.MapMode.READ_WRITE, 0, size);
            for (int i = 0; i < size; i += 4) {
                shared.putInt(i, i);
            }
            shared.force();
            MappedByteBuffer own = file.map(FileChannel.MapMode.PRIVATE, 0, size);
            own.putInt(4096, -1);
            ByteBuffer read = ByteBuffer.allocate(8);
            file.read(read, 4092);
            System.out.println("read " + read.getInt(0) + ' ' + read.getInt(4));
            System.out.println("private " + own.getInt(4096) + " shared " + shared.getInt(4096));
            shared.load();
            System.out.println("loaded, size " + file.size());
        }
    }

    private static FileChannel open(String name) throws Exception {
        return new RandomAccessFile(name, "rw").getChannel();
    }

    /** Another process finds the locked part locked and the rest free. */
    private static void lock() throws Exception {
        try (FileChannel file = open("locked"); FileLock held = file.lock(0, 10, false)) {
            System.out.println("valid " + held.isValid());
            other();
            held.release();
            other();
        }
    }

    private static void other() throws Exception {
        new ProcessBuilder("java", "-Xshare:auto", "-cp", System.getProperty("java.class.path"),
            "FileChannels", "locked").inheritIO().start().waitFor();
    }

    private static void locked() throws Exception {
        try (FileChannel file = open("locked")) {
            System.out.println("first " + (file.tryLock(0, 10, false) == null ? "locked" : "free"));
            System.out.println("second " + (file.tryLock(10, 10, false) == null ? "locked" : "free"));
        }
    }

    private static void transfer() throws Exception {
        try (FileChannel from = open("from"); FileChannel to = open("to")) {
            ByteBuffer[] parts = {ByteBuffer.wrap(new byte[100_000]), ByteBuffer.wrap("end".getBytes())};
            System.out.println("gathered " + from.write(parts));
            System.out.println("sent " + from.transferTo(0, from.size(), to));
            System.out.println("received " + to.transferFrom(from.position(99_999), to.size(), 4));
            System.out.println("differ at " + Files.mismatch(Path.of("from"), Path.of("to")));
        }
    }

    private static void attributes() throws Exception {
        Path file = Files.writeString(Path.of("file"), "text");
        Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-r-----"));
        Files.createSymbolicLink(Path.of("link"), file);
        Files.createLink(Path.of("hard"), file);
        System.out.println(PosixFilePermissions.toString(Files.getPosixFilePermissions(Path.of("link"))));
        System.out.println("links " + Files.getAttribute(file, "unix:nlink"));
        System.out.println("owner " + Files.getOwner(file, LinkOption.NOFOLLOW_LINKS));
        System.out.println("same " + Files.isSameFile(file, Path.of("hard")));
        Files.move(file, Path.of("moved"));
        System.out.println("dangling " + !Files.exists(Path.of("link")));
    }

    private static void watch() throws Exception {
        Path dir = Files.createDirectory(Path.of("watched"));
        try (WatchService service = dir.getFileSystem().newWatchService()) {
            dir.register(service, StandardWatchEventKinds.ENTRY_CREATE, StandardWatchEventKinds.ENTRY_DELETE);
            Files.createFile(dir.resolve("a"));
            Files.delete(dir.resolve("a"));
            Files.writeString(dir.resolve("b"), "", StandardOpenOption.CREATE_NEW);
            TreeSet<String> seen = new TreeSet<>();
            while (seen.size() < 3) {
                WatchKey key = service.poll(1, TimeUnit.MINUTES);
                key.pollEvents().forEach(event -> seen.add(event.kind() + " " + event.context()));
                key.reset();
            }
            System.out.println(seen);
        }
    }
}
