import java.io.FileInputStream;
import java.io.InputStream;
import java.util.Enumeration;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipInputStream;

/** Reads every member of an archive, by its directory or front to back, and prints name, size and CRC-32. */
public final class ReadZip {
    public static void main(String[] arguments) throws Exception {
        if (arguments[0].equals("file")) {
            byDirectory(arguments[1]);
        } else {
            frontToBack(arguments[1]);
        }
    }

    private static void byDirectory(String path) throws Exception {
        try (ZipFile archive = new ZipFile(path)) {
            for (Enumeration<? extends ZipEntry> entries = archive.entries(); entries.hasMoreElements();) {
                ZipEntry entry = entries.nextElement();
                try (InputStream data = archive.getInputStream(entry)) {
                    print(entry.getName(), data);
                }
            }
        }
    }

    private static void frontToBack(String path) throws Exception {
        try (ZipInputStream archive = new ZipInputStream(new FileInputStream(path))) {
            for (ZipEntry entry = archive.getNextEntry(); entry != null; entry = archive.getNextEntry()) {
                print(entry.getName(), archive);
            }
        }
    }

    private static void print(String name, InputStream data) throws Exception {
        CRC32 crc = new CRC32();
        byte[] buffer = new byte[1 << 16];
        long size = 0;
        for (int count = data.read(buffer); count >= 0; count = data.read(buffer)) {
            crc.update(buffer, 0, count);
            size += count;
        }
        System.out.println(size + " " + Long.toHexString(crc.getValue()) + " " + name);
    }
}
